"""Text from data as Markdown that shows it and nothing else."""

import string
from collections.abc import Iterable, Sequence
from typing import Final

from components.errors import one_line

ROWS: Final = 50  # of a table
SIGNS: Final = 200  # of a cell

_ESCAPES: Final = str.maketrans({sign: f'\\{sign}' for sign in string.punctuation})


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; its cells are escaped, and of more than `ROWS` rows it says how many are left out.

    Args:
        heads: of the columns, in Markdown.
        rows: cells, as plain text.
    """
    cut = f'\n\nand {len(rows) - ROWS:,} more.' if len(rows) > ROWS else ''
    shown = [_line(map(escaped, row)) for row in rows[:ROWS]]
    return '\n'.join([_line(heads), _line('---' for _ in heads), *shown]) + cut


def escaped(text: str) -> str:
    """The text, to be shown letter by letter and cut after `SIGNS` of them.

    CommonMark takes any ASCII punctuation behind a backslash as itself.
    """
    visible = one_line(text)
    short = visible if len(visible) <= SIGNS else visible[: SIGNS - 1] + '…'
    return short.translate(_ESCAPES)


def _line(cells: Iterable[str]) -> str:
    return f'| {" | ".join(cells)} |'
