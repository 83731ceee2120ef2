"""The configuration of a pipeline: frozen dataclasses, filled from YAML, overridden by the command line.

Nothing is read or created when this module is imported.
"""

import dataclasses
import difflib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import dacite
import yaml

from components import faces
from components.errors import StepError
from components.metadata import MetadataSettings, store_name
from components.settings import (
    AuditSettings,
    CheckSettings,
    EvaluateSettings,
    ExpressionBehaviour,
    IngestSettings,
    KeypointBehaviour,
    PushSettings,
    TrainSettings,
    ValidateSettings,
    WorkerSettings,
    demand,
)
from components.storage.uris import below
from pipeline.beam.settings import BeamSettings
from pipeline.hooks import HookSettings
from pipeline.kubeflow.settings import KubeflowSettings

CONFIGS: Final = Path(__file__).parent / 'configs'
TASKS = faces.TASKS


@dataclass(frozen=True)
class DrawSettings:
    """Built-in faces that are drawn before a run; none for a pipeline on published data.

    Attributes:
        folder: where the two files are written, as `expressions.csv.gz` and `keypoints.csv.gz`.
        expressions: rows of the expression file.
        keypoints: rows of the keypoint file.
        seed: another seed draws other people.
    """

    folder: str = ''
    expressions: int = 0
    keypoints: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Ingest:
    expression: IngestSettings = IngestSettings()
    keypoints: IngestSettings = IngestSettings()


@dataclass(frozen=True)
class Validate:
    expression: ValidateSettings = ValidateSettings()
    keypoints: ValidateSettings = ValidateSettings()


@dataclass(frozen=True)
class Train:
    expression: TrainSettings = TrainSettings()
    keypoints: TrainSettings = TrainSettings()


@dataclass(frozen=True)
class Behaviour:
    expression: ExpressionBehaviour = ExpressionBehaviour()
    keypoints: KeypointBehaviour = KeypointBehaviour()


@dataclass(frozen=True)
class Evaluate:
    expression: EvaluateSettings = EvaluateSettings()
    keypoints: EvaluateSettings = EvaluateSettings()


@dataclass(frozen=True)
class Config:
    """One pipeline.

    Attributes:
        name: of the pipeline; its store is `<runs>/<name>`.
        runs: folder of the stores (metadata, artifacts, checkpoints, reports).
        artifacts: where the steps' outputs go, a folder or `s3://bucket/prefix`; empty for a folder of the store.
        serving: where models are pushed to, a folder or `s3://bucket/prefix`.
        seed: of weights, order and augmentation.
        beam: the engine of ingest, statistics, Transform and Evaluator.
        workers: the processes that train one network together.
        draw, ingest, validate, audit, train, behaviour, evaluate, check, push: settings of the steps.
        metadata: a database for ML Metadata, instead of a SQLite file in the store.
        hooks: who is told what a run decided.
        kubeflow: how the pipeline is compiled for Kubeflow Pipelines.
    """

    name: str = 'faces'
    runs: str = 'runs'
    artifacts: str = ''
    serving: str = 'serving'
    seed: int = 0
    beam: BeamSettings = BeamSettings()
    draw: DrawSettings = DrawSettings()
    ingest: Ingest = Ingest()
    validate: Validate = Validate()
    audit: AuditSettings = AuditSettings()
    train: Train = Train()
    workers: WorkerSettings = WorkerSettings()
    behaviour: Behaviour = Behaviour()
    evaluate: Evaluate = Evaluate()
    check: CheckSettings = CheckSettings()
    push: PushSettings = PushSettings()
    metadata: MetadataSettings = MetadataSettings()
    hooks: HookSettings = HookSettings()
    kubeflow: KubeflowSettings = KubeflowSettings()

    def __post_init__(self):
        for task in TASKS:
            size, shards = of(self.train, task).batch_size, of(self.ingest, task).shards
            demand(
                size % self.workers.count == 0,
                f'train.{task}.batch_size is {size}, which workers.count of {self.workers.count} does not divide',
            )
            demand(
                not 0 < shards < self.workers.count,
                f'ingest.{task}.shards is {shards}: give each of {self.workers.count} workers (workers.count) files of '
                'its own',
            )

    @property
    def store(self) -> Path:
        """Absolute, so that the cache does not depend on where the command is typed."""
        return (Path(self.runs) / self.name).absolute()

    @property
    def metadata_store(self) -> str:
        """ML Metadata's SQLite file, or the address of its database."""
        return store_name(self.metadata, self.store)

    def serving_folder(self, model: str) -> Path | str:
        """Of one model: an absolute path, or a URI."""
        folder = below(self.serving, model)
        return folder.absolute() if isinstance(folder, Path) else folder


Section = TypeVar('Section')


def of(section: Any, task: str) -> Any:
    """The settings of a task in one of the sections that hold both."""
    return getattr(section, task)


def load(name: str, overrides: Sequence[str] = ()) -> Config:
    """Reads a configuration.

    Args:
        name: of a file in `pipeline/configs` without its suffix, or the path of a YAML file. Its key `extends` names
            another configuration, likewise, whose values hold where it has none of its own; a relative path there
            starts at the file's folder.
        overrides: `section.key=value`, the value in YAML.

    Raises:
        StepError: there is no such file, it is no YAML, or a key or a value is not known.
    """
    return build(_read(name), overrides, name)


def build(values: dict[str, Any], overrides: Sequence[str], name: str) -> Config:
    """The configuration of nested values.

    Args:
        values: as YAML gives them; the overrides are put into them.
        overrides: `section.key=value`, the value in YAML.
        name: of the configuration, for error messages.

    Raises:
        StepError: a key or a value is not known.
    """
    for override in overrides:
        _merge(values, override)
    for problem in _problems(Config, values, ''):
        raise StepError(problem)
    try:
        return dacite.from_dict(Config, values, dacite.Config(cast=[tuple], type_hooks={float: _to_float}))
    except dacite.WrongTypeError as error:
        raise StepError(_wrong_type(error.field_path, _type_name(error.field_type), error.value)) from error
    except (dacite.DaciteError, ValueError, TypeError) as error:
        raise StepError(f'Configuration {name}: {str(error).splitlines()[0]}') from error


def to_yaml(config: Config) -> str:
    """The whole configuration, defaults included, as YAML."""
    return yaml.safe_dump(_plain(dataclasses.asdict(config)), sort_keys=False, width=100)


def _read(name: str, extended_by: tuple[str, ...] = ()) -> dict[str, Any]:
    path = Path(name) if name.endswith(('.yaml', '.yml')) else CONFIGS / f'{name}.yaml'
    try:
        values = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (FileNotFoundError, IsADirectoryError) as error:
        known = ', '.join(sorted(entry.stem for entry in CONFIGS.glob('*.yaml')))
        raise StepError(f'There is no configuration {name!r}: give one of {known}, or the path of a .yaml.') from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StepError(f'{path} cannot be read as YAML: {" ".join(str(error).split())}') from error
    if not isinstance(values, dict):
        raise StepError(f'{path} holds no mapping of keys to values.')
    base = values.pop('extends', None)
    if base is None:
        return values
    if isinstance(base, str) and base.endswith(('.yaml', '.yml')):
        base = str((path.parent / base).resolve())
    if not isinstance(base, str) or base in (name, str(path.resolve()), *extended_by):
        raise StepError(f'{path}: extends is {base!r}: name one other configuration, and none that extends this one.')
    return _laid_over(_read(base, (name, str(path.resolve()), *extended_by)), values)


def _laid_over(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The base with these values in place of its own, section by section."""
    result = dict(base)
    for key, value in values.items():
        inner = result.get(key)
        result[key] = _laid_over(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def _merge(values: dict[str, Any], override: str) -> None:
    """Puts `section.key=value` into the nested values."""
    key, separator, text = override.partition('=')
    if not separator or not key:
        raise StepError(f'--set {override!r}: write it as section.key=value.')
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise StepError(f'--set {override!r}: the value cannot be read as YAML.') from error
    *sections, last = key.split('.')
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise StepError(f'--set {override!r}: {section} has no keys of its own.')
    values[last] = value


def _problems(kind: type, values: Any, prefix: str) -> Iterator[str]:
    """A sentence for every key that the dataclass does not have, and for every value that dacite would let pass."""
    if not isinstance(values, Mapping):
        yield _wrong_type(prefix.rstrip('.'), 'keys with values', values)
        return
    hints = typing.get_type_hints(kind)
    for key, value in values.items():
        if key not in hints:
            close = difflib.get_close_matches(str(key), hints, n=1, cutoff=0.5)
            nearest = f'did you mean {prefix}{close[0]}?' if close else f'known here: {", ".join(hints)}.'
            yield f'Unknown configuration key {prefix}{key}: {nearest}'
            continue
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            yield from _problems(typing.cast(type, hint), value, f'{prefix}{key}.')
        elif typing.get_origin(hint) is tuple and not isinstance(value, list):
            # dacite would take a text apart into its letters.
            yield _wrong_type(f'{prefix}{key}', 'a list such as [a, b]', value)
        elif isinstance(value, bool) and hint is not bool:
            # To Python, true is a whole number.
            yield _wrong_type(f'{prefix}{key}', _type_name(hint), value)
        elif typing.get_origin(hint) is dict and isinstance(value, Mapping):
            inner = typing.get_args(hint)[1]
            if dataclasses.is_dataclass(inner):
                for name, entry in value.items():
                    yield from _problems(typing.cast(type, inner), entry, f'{prefix}{key}.{name}.')


def _wrong_type(key: str | None, expected: str, value: Any) -> str:
    return f'Configuration key {key}: expected {expected}, got {type(value).__name__} {value!r}.'


def _to_float(value: Any) -> float:
    # YAML 1.1 reads 1e-3, without a point, as text.
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return typing.cast(float, value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).replace('typing.', '')


def _plain(value: Any) -> Any:
    """The value in types that YAML has."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value
