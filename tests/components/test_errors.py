import pytest

from components.errors import StepError


@pytest.mark.parametrize('sign', ['\n', '\r', '\x1e', '\x85', '\u2028', '\x1b[31m'])
def test_what_comes_from_outside_cannot_break_the_line_or_the_terminal(sign):
    message = str(StepError(f'No such key: a{sign}b. Take another.'))
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    assert message.startswith('No such key: a\\')


def test_an_ordinary_message_stays_as_it_is():
    assert str(StepError('/data/größe  1.csv: 3 × 4 — mend it.')) == '/data/größe  1.csv: 3 × 4 — mend it.'
