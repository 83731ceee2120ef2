"""Which files a dataset consists of: patterns, folders and spans."""

import difflib
import glob
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from components.errors import StepError
from components.settings import IngestSettings

TABLE_SUFFIXES = ('.csv', '.csv.gz')
IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg')
_SPAN = '{SPAN}'
_SPANS = re.compile(r'latest(-(?P<newest>\d+))?|(?P<first>\d+)(-(?P<last>\d+))?')


@dataclass(frozen=True)
class Sources:
    """The files of one dataset.

    Attributes:
        files: paths of tables and of images, sorted; an image lies in `<split>/<class>/`.
        corrections: paths of the tables that correct labels.
        span: the newest span that was chosen; None when no pattern has `{SPAN}`.
        fingerprint: BLAKE2 over the names (of an image, with split and class) and the contents of the files; of stored
            objects over the store's own checksums of the contents.
    """

    files: tuple[str, ...]
    corrections: tuple[str, ...]
    span: int | None
    fingerprint: str


def is_table(path: str) -> bool:
    """Whether this is a CSV file rather than an image."""
    return path.lower().endswith(TABLE_SUFFIXES)


def resolve(settings: IngestSettings) -> Sources:
    """Finds the files that the patterns in `settings.files` name, of the spans that `settings.spans` chooses.

    Corrections name images, wherever these come from: `spans` does not choose among their files.

    Raises:
        StepError: a pattern matches nothing, or `spans` cannot be understood.
    """
    if not settings.files:
        raise StepError('No data are named: set ingest.files to CSV files or to a folder <split>/<class>/*.png.')
    if any('://' in pattern for pattern in (*settings.files, *settings.corrections)):
        # Outside a pipeline Beam has none, and its S3 takes no default.
        FileSystems.set_options(PipelineOptions([]))
    found = {pattern: dict(_matches(pattern)) for pattern in settings.files}
    for pattern, matches in found.items():
        if not matches:
            raise StepError(
                f'{_nothing_found(pattern)} Name .csv or .csv.gz files, or a folder that holds '
                '<split>/<class>/*.png or *.jpg.'
            )
    spans = {span for matches in found.values() for span in matches.values() if span is not None}
    chosen = _choose(spans, settings.spans)
    files: list[str] = []
    for pattern, matches in found.items():
        kept = sorted(path for path, span in matches.items() if span is None or span in chosen)
        if not kept:
            raise StepError(
                f'{pattern} has no file of the spans {settings.spans}; it has {_listed(set(matches.values()))}.'
            )
        files += kept
    unique = tuple(dict.fromkeys(files))
    corrections = _find_corrections(settings.corrections)
    return Sources(unique, corrections, max(chosen, default=None), _fingerprint(unique + corrections))


def _find_corrections(patterns: Iterable[str]) -> tuple[str, ...]:
    files: list[str] = []
    for pattern in patterns:
        found = sorted(path for path, _ in _matches(pattern) if is_table(path))
        if not found:
            raise StepError(f'{_nothing_found(pattern)} Name .csv or .csv.gz files in ingest.corrections.')
        files += found
    return tuple(dict.fromkeys(files))


def absolute(path: str) -> str:
    """The path from the root; a URI stays what it is."""
    return path if '://' in path else str(Path(path).absolute())


def limit_images(files: Iterable[str], limit: int) -> list[str]:
    """All tables, and the first `limit` images of each class folder; 0 keeps all."""
    seen: Counter[str] = Counter()
    kept = []
    for path in files:
        folder = str(PurePosixPath(path).parent)
        seen[folder] += 1
        if is_table(path) or not limit or seen[folder] <= limit:
            kept.append(path)
    return kept


def _matches(pattern: str) -> Iterator[tuple[str, int | None]]:
    """Files that the pattern names, or that lie in a folder that it names, with the number in place of `{SPAN}`."""
    pattern = pattern.rstrip('/')
    tables_and_images = [path for path in _files(pattern) if path.lower().endswith(TABLE_SUFFIXES + IMAGE_SUFFIXES)]
    # Whatever lies in a class folder is a row: what is no image ends among the rejects, not out of sight.
    in_class_folders = _files(f'{pattern}/*/*/*')
    expression = _expression(pattern)
    for path in tables_and_images + in_class_folders:
        match = expression.match(path)
        if match:
            yield path, int(match['span']) if _SPAN in pattern else None


def _files(pattern: str) -> list[str]:
    pattern = pattern.replace('[', '[[]').replace(_SPAN, '*')
    if '://' in pattern:
        return [metadata.path for metadata in FileSystems.match([pattern])[0].metadata_list]
    return [path for path in glob.glob(pattern) if Path(path).is_file()]  # noqa: PTH207


def _expression(pattern: str) -> re.Pattern[str]:
    """Matches a path and its span; a pattern that names the span twice takes the same number for both."""
    text = re.escape(pattern).replace(r'\*', '[^/]*').replace(r'\?', '[^/]')
    text = text.replace(re.escape(_SPAN), r'0*(?P<span>\d+)', 1).replace(re.escape(_SPAN), '0*(?P=span)')
    return re.compile(text + '(/|$)')


def _choose(spans: set[int], wanted: str) -> set[int]:
    match = _SPANS.fullmatch(wanted.strip())
    if not match:
        raise StepError(f'ingest.spans is {wanted!r}: give latest, latest-3 or a range such as 3-7.')
    if match['first']:
        first = int(match['first'])
        return {span for span in spans if first <= span <= int(match['last'] or first)}
    return set(sorted(spans)[-int(match['newest'] or 1) :])


def _listed(spans: set[int | None]) -> str:
    numbers = sorted(span for span in spans if span is not None)
    return f'{numbers[0]} to {numbers[-1]}' if len(numbers) > 1 else f'{numbers[0]}'


def _nothing_found(pattern: str) -> str:
    if '://' in pattern:
        return f'Nothing matches {pattern}: no object there has such a name.'
    parts = Path(pattern).parts
    depth = next(depth for depth in range(len(parts) - 1, -1, -1) if Path(*parts[:depth]).is_dir())
    folder = Path(*parts[:depth])
    names = sorted(path.name for path in folder.iterdir())
    near = difflib.get_close_matches(parts[depth], names, n=3, cutoff=0.4) or names[:3]
    there = f'there: {", ".join(near)}' if near else 'it is empty'
    return f'Nothing matches {pattern}: looked in {folder.absolute()} ({there}).'


def _fingerprint(files: tuple[str, ...]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in files:
        named = PurePosixPath(path).parts[-1 if is_table(path) else -3 :]
        digest.update('/'.join(named).encode() + b'\0')
        digest.update(_of_content(path))
    return digest.hexdigest()


def _of_content(path: str) -> bytes:
    """A hash of the content; of a stored object the one that the store keeps, which costs a request and no reading."""
    if '://' in path:
        return FileSystems.checksum(path).encode()
    content = hashlib.blake2b(digest_size=16)
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        while block := stream.read(1 << 20):
            content.update(block)
    return content.digest()
