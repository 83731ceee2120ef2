"""Artifacts on their way from Kubeflow's launcher to a TFX executor and back.

Kubeflow names an artifact by a URI in an object store; its launcher copies what lies there to a local path before the
executor starts, and back after it has ended. TFX sees local paths alone.
"""

import logging
import math
import re
import shutil
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from google.protobuf import struct_pb2
from kfp.pipeline_spec import pipeline_spec_pb2
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.orchestration.kubeflow.v2 import compiler_utils
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils
from tfx.orchestration.portable import outputs_utils
from tfx.types import artifact_utils, standard_artifacts, value_artifact
from tfx.utils import name_utils

from components.errors import StepError

Artifacts = dict[str, list[types.Artifact]]
"""By the name of an input or output, as TFX's executors take them."""

EXECUTOR_LOGS: Final = 'executor-logs'
"""An output that Kubeflow's driver adds to those of every task; the launcher fills it."""

KEEP: Final = '.keep'
"""The file that keeps an empty folder alive in an object store."""

VIEWED: Final = frozenset({'system.HTML', 'system.Markdown'})
"""Types that the dashboard shows: it reads one file at the artifact's path itself."""

TABULATED: Final = frozenset({'system.Metrics', 'system.ClassificationMetrics'})
"""Types of which the dashboard shows every property."""

_STORES = {'s3': 's3', 'minio': 'minio', 'gs': 'gcs'}
_URI = re.compile(r'([A-Za-z][A-Za-z0-9+.-]*)://(.*)', re.DOTALL)
_ADDED = frozenset({'display_name', 'store_session_info'})


def artifact_types() -> tuple[type[types.Artifact], ...]:
    """The artifact types of this repository that TFX does not know."""
    from components.audit.artifacts import Audit
    from components.behaviour.artifacts import Behaviour
    from components.dashboard import ClassificationMetrics, Html, Markdown, Metrics
    from components.ingest.artifacts import Rejects
    from components.report.component import Report
    from components.validate.artifacts import DataVerdict

    return Rejects, DataVerdict, Audit, Behaviour, Report, Html, Markdown, Metrics, ClassificationMetrics


def register(kinds: Iterable[type[types.Artifact]]) -> None:
    """Tells TFX the classes of artifact types; it would take the title of an unknown type as an import path."""
    compiler_utils.TITLE_TO_CLASS_PATH.update({kind.TYPE_NAME: name_utils.get_full_name(kind) for kind in kinds})


def local_path(uri: str, root: Path = Path('/')) -> str:
    """Where Kubeflow's launcher puts what lies at a URI (`LocalPathForURI` in its `launcher_v2.go`).

    Args:
        uri: a URI with scheme, or a local path, which stays what it is.
        root: the folder that holds `s3`, `minio`, `gcs` and `oci`.

    Raises:
        StepError: the launcher knows no such scheme, or the URI names no object or leads out of its bucket.
    """
    found = _URI.fullmatch(uri)
    if found is None:
        return uri
    scheme, key = found.group(1), found.group(2).rstrip('/')
    if not key or '..' in key.split('/'):
        raise StepError(f'The URI {uri!r} names no artifact: mend the pipeline root or the importer that gave it.')
    if scheme == 'oci':
        # An image is unpacked, and its files lie in this folder of it.
        return str(root / 'oci' / key.replace('/', '_') / 'models')
    if scheme not in _STORES:
        raise StepError(
            f'The URI {uri!r} is of no store that Kubeflow copies from: use s3://, minio://, gs:// or oci://.'
        )
    return str(root / _STORES[scheme] / key.lstrip('/'))


def read_inputs(
    given: pipeline_spec_pb2.ExecutorInput.Inputs,
    spec: pipeline_spec_pb2.ComponentInputsSpec,
    names: MutableMapping[int, str],
    root: Path = Path('/'),
) -> Artifacts:
    """The inputs that the component declares, as its executor expects them.

    Kubeflow's types are not looked at: they arrive empty, or as `system.Artifact`. Inputs that are not declared, such
    as the one that a condition reads, are left out.

    Args:
        given: what the launcher passes on.
        spec: what the component declares.
        names: receives Kubeflow's name of each artifact by the id that TFX sees.
        root: see `local_path`.

    Raises:
        StepError: see `local_path`.
    """
    raw = {}
    for name in spec.artifacts:
        if name in given.artifacts:
            raw[name] = pipeline_spec_pb2.ArtifactList()
            raw[name].CopyFrom(given.artifacts[name])
            for one in raw[name].artifacts:
                one.type.CopyFrom(spec.artifacts[name].artifact_type)
                one.uri = local_path(one.uri, root)
                one.metadata.CopyFrom(_unwrapped(one.metadata))
    inputs = kubeflow_v2_entrypoint_utils.parse_raw_artifact_dict(raw, names)
    for name, artifacts in inputs.items():
        for artifact, source in zip(artifacts, given.artifacts[name].artifacts, strict=True):
            _restore_properties(artifact)
            if _is_stored(source.uri):
                _restore_folder(artifact)
    return inputs


def read_outputs(
    given: pipeline_spec_pb2.ExecutorInput.Outputs,
    names: MutableMapping[int, str],
    temporary: Path,
    root: Path = Path('/'),
) -> Artifacts:
    """The outputs that the executor writes.

    Args:
        given: what the launcher passes on.
        names: see `read_inputs`.
        temporary: a folder for the texts that become output parameters and are no artifacts.
        root: see `local_path`.

    Raises:
        StepError: an output has no place of its own; see also `local_path`.
    """
    raw = {}
    for name, listed in given.artifacts.items():
        if name != EXECUTOR_LOGS:
            raw[name] = pipeline_spec_pb2.ArtifactList()
            raw[name].CopyFrom(listed)
            for one in raw[name].artifacts:
                one.uri = local_path(one.uri, root)
                if not PurePosixPath(one.uri).is_absolute():
                    raise StepError(f'The output {name!r} has no absolute path but {one.uri!r}: give a pipeline root.')
    outputs: Artifacts = kubeflow_v2_entrypoint_utils.parse_raw_artifact_dict(raw, names)
    for name in given.parameters:
        if name not in outputs:
            text = standard_artifacts.String()
            text.uri = str(temporary / name)
            outputs[name] = [text]
    return outputs


def make_outputs(outputs: Artifacts) -> None:
    """Makes each output's folder as TFX's own launcher does, without what an attempt that was killed left there."""
    for artifacts in outputs.values():
        for artifact in artifacts:
            _remove(Path(artifact.uri))
    outputs_utils.make_output_dirs(outputs)


def finish_outputs(outputs: Artifacts, given: pipeline_spec_pb2.ExecutorInput.Outputs) -> None:
    """Gives what the executor wrote the form that the launcher uploads and the dashboard shows.

    - An artifact that the dashboard shows becomes the one file that lies in its folder.
    - An object store has no folders, so an output without any file would be missing for its consumers: it gets the
      empty file `.keep`. Outputs that hold files do not, not even in their empty folders, because readers take every
      file of such a folder as data (`Split-eval/*`); a SavedModel does without its empty `assets`.

    Raises:
        StepError: there is not exactly one file to show.
    """
    for name, artifacts in outputs.items():
        stored = name in given.artifacts and _is_stored(given.artifacts[name].artifacts[0].uri)
        for artifact in artifacts:
            path = Path(artifact.uri)
            if artifact.type_name in VIEWED:
                _become_only_file(path, name)
            elif stored and not isinstance(artifact, value_artifact.ValueArtifact):
                _keep(path)


def executor_output(
    outputs: Artifacts, given: pipeline_spec_pb2.ExecutorInput.Outputs, names: Mapping[int, str]
) -> dict[str, Any]:
    """What the launcher reads of the outputs: metadata, and the values of output parameters.

    The launcher knows URIs, names and types itself, and a local path as URI would fail the consumer. Where there is no
    object store (kfp.local), nobody else gives URI and name.

    Raises:
        StepError: an output parameter has no value.
    """
    artifacts = {name: outputs[name] for name in outputs if name in given.artifacts}
    outputs_utils.tag_output_artifacts_with_version(
        {name: found for name, found in artifacts.items() if found[0].type_name not in TABULATED}
    )
    answer: dict[str, Any] = {'artifacts': {}}
    for name, found in artifacts.items():
        (source,) = given.artifacts[name].artifacts
        place = {} if _is_stored(source.uri) else {'name': source.name, 'uri': source.uri}
        metadata = _metadata(name, artifact_utils.get_single_instance(found), names)
        answer['artifacts'][name] = {'artifacts': [{**place, 'metadata': metadata}]}
    if given.parameters:
        answer['parameterValues'] = {name: _value(name, outputs[name]) for name in given.parameters}
    return answer


def _is_stored(uri: str) -> bool:
    """Whether an artifact lies in an object store, and what the executor sees is a copy."""
    return _URI.fullmatch(uri) is not None


def _unwrapped(metadata: struct_pb2.Struct) -> struct_pb2.Struct:
    """Metadata as the producer wrote it: without Kubeflow's additions, lists and dicts out of their wraps."""
    result = struct_pb2.Struct()
    for key, value in metadata.fields.items():
        if key in _ADDED or value.WhichOneof('kind') in (None, 'null_value'):
            continue
        if value.HasField('struct_value') and len(value.struct_value.fields) == 1:
            ((wrap, inner),) = value.struct_value.fields.items()
            if (wrap, inner.WhichOneof('kind')) in (('list', 'list_value'), ('struct', 'struct_value')):
                value = inner
        result.fields[key].CopyFrom(value)
    return result


def _restore_properties(artifact: types.Artifact) -> None:
    """Mends what TFX's parser makes of a property.

    It does not know bools, and it keeps custom properties as JSON, of which `get_custom_property` gives None where the
    value is 0 or empty.
    """
    declared = artifact.artifact_type.properties
    for key in list(artifact.mlmd_artifact.custom_properties):
        value = artifact.get_json_value_custom_property(key)
        if declared.get(key) == metadata_store_pb2.BOOLEAN:
            del artifact.mlmd_artifact.custom_properties[key]
            setattr(artifact, key, bool(value))
        elif value is False:
            artifact.set_bool_custom_property(key, value)
        elif value == 0:
            artifact.set_int_custom_property(key, 0)
        elif value == '':
            artifact.set_string_custom_property(key, value)


def _restore_folder(artifact: types.Artifact) -> None:
    """Makes the launcher's copy of an empty folder an empty folder.

    `.keep` goes. A zero-byte object `<artifact>/`, with which browsers of object stores mark a folder, comes as an
    empty file at the artifact's path. A marker further down is left: it looks like any empty file, such as BLESSED.
    Markers of folders that hold files never come so far: the launcher itself fails of them.
    """
    path = Path(artifact.uri)
    if isinstance(artifact, value_artifact.ValueArtifact) or artifact.type_name in VIEWED:
        return
    if path.is_file() and path.stat().st_size == 0:
        path.unlink()
        path.mkdir()
    elif path.is_dir() and [file.name for file in path.iterdir()] == [KEEP]:
        (path / KEEP).unlink()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _become_only_file(folder: Path, name: str) -> None:
    if folder.is_file():
        return
    found = list(folder.iterdir())
    if len(found) != 1 or not found[0].is_file():
        raise StepError(
            f'The output {name!r} is shown as one file, but {folder} holds {len(found)} entries: write one file.'
        )
    aside = folder.with_name(f'.{folder.name}.only')
    found[0].rename(aside)
    folder.rmdir()
    aside.rename(folder)


def _keep(folder: Path) -> None:
    if folder.is_file() or any(path.is_file() for path in folder.rglob('*')):
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / KEEP).touch()


def _metadata(name: str, artifact: types.Artifact, names: Mapping[int, str]) -> dict[str, Any]:
    """The properties as the launcher can read them; what it cannot is left out."""
    # TFX's translation refuses bools.
    plain = artifact.mlmd_artifact
    flags = {
        key: value.bool_value
        for properties in (plain.properties, plain.custom_properties)
        for key, value in properties.items()
        if value.HasField('bool_value')
    }
    for key in flags:
        plain.properties.pop(key, None)
        plain.custom_properties.pop(key, None)
    translated = kubeflow_v2_entrypoint_utils.translate_executor_output({name: [artifact]}, names)
    metadata = _plain(translated[name].artifacts[0].metadata.fields)
    lost = sorted(set(translated[name].artifacts[0].metadata.fields) - set(metadata))
    if lost:
        logging.getLogger(__name__).warning('Output %s: no value that can be passed on in %s.', name, ', '.join(lost))
    return {**metadata, **flags}


def _plain(fields: Mapping[str, struct_pb2.Value]) -> dict[str, Any]:
    """A dict without null, NaN and infinity, however deep: the launcher and JSON refuse them."""
    return {key: _plain_value(value) for key, value in fields.items() if _is_passed_on(value)}


def _plain_value(value: struct_pb2.Value) -> Any:
    if value.HasField('struct_value'):
        return _plain(value.struct_value.fields)
    if value.HasField('list_value'):
        return [_plain_value(one) for one in value.list_value.values if _is_passed_on(one)]
    return getattr(value, value.WhichOneof('kind'))


def _is_passed_on(value: struct_pb2.Value) -> bool:
    kind = value.WhichOneof('kind')
    return kind not in (None, 'null_value') and (kind != 'number_value' or math.isfinite(value.number_value))


def _value(name: str, found: list[types.Artifact]) -> Any:
    value = artifact_utils.get_single_instance(found).read()
    if value is None:
        raise StepError(f'The output parameter {name!r} has no value: the executor has to write one.')
    return value
