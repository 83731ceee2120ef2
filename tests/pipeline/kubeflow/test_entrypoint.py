"""The container's entrypoint, given what a real Kubeflow Pipelines passed on (see `captures`)."""

import contextlib
import copy
import importlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tfx
from absl import logging as absl_logging
from google.protobuf import json_format
from kfp import dsl
from kfp.local import executor_output_utils
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.components.evaluator import constants
from tfx.orchestration.kubeflow.v2 import compiler_utils
from tfx.types import standard_artifacts

from components import dashboard
from components.errors import StepError
from pipeline.kubeflow import artifacts, entrypoint

CAPTURES = Path(__file__).parent / 'captures'
ROOT = Path(__file__).parents[3]
RUN = '5f5856da-b02f-446f-a53e-4160fdcc74f1'
TASK_URI = f's3://bucket/root/a-pipeline/{RUN}/a-task/6bd3ee9e-1d28-4a8e-9a4c-0f5a7c3d2b11'
LOG_LINE = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO|WARNING|ERROR) a-task: ')


@dataclass(frozen=True)
class Ended:
    """How the entrypoint ended, and what it left."""

    status: int
    errors: list[str]
    output: dict[str, Any] | None


@pytest.fixture(scope='session')
def executors() -> Iterator[ModuleType]:
    """The module `small_executors`; `tests` is no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module('small_executors')


@pytest.fixture
def process(monkeypatch) -> Iterator[None]:
    """Gives back what the entrypoint changes in its process."""
    # Beam's executors read the command line, here pytest's.
    monkeypatch.setattr(sys, 'argv', ['entrypoint'])
    monkeypatch.setattr(compiler_utils, 'TITLE_TO_CLASS_PATH', dict(compiler_utils.TITLE_TO_CLASS_PATH))
    monkeypatch.setenv('TF_CPP_MIN_LOG_LEVEL', '3')
    monkeypatch.delenv('KFP_RETRY_INDEX', raising=False)
    root = logging.getLogger()
    before = root.handlers[:], root.level, absl_logging.get_verbosity(), signal.getsignal(signal.SIGTERM)
    # Not to be closed by the entrypoint's own.
    root.handlers[:] = []
    yield
    root.handlers[:], level, verbosity, handler = before
    root.setLevel(level)
    absl_logging.set_verbosity(verbosity)
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def start(process, executors, tmp_path, capsys) -> Callable[..., Ended]:
    """Starts an executor of `small_executors` with an executor input, an inputs spec and Beam's arguments."""
    executors.CALLS.clear()

    def run(
        executor: str, given: dict[str, Any], spec: dict[str, Any] | None = None, *flags: str, kinds: Any = None
    ) -> Ended:
        given = rebased(given, tmp_path)
        arguments = [
            f'--executor_class_path=small_executors.{executor}',
            '--json_serialized_invocation_args',
            json.dumps(given),
            '--json_serialized_inputs_spec_args',
            json.dumps(spec or {}),
            *flags,
        ]
        capsys.readouterr()
        status = entrypoint.main(arguments, tmp_path, kinds or executors.types)
        written = Path(given['outputs']['outputFile'])
        output = json.loads(written.read_text()) if written.exists() else None
        return Ended(status, capsys.readouterr().err.splitlines(), output)

    return run


def rebased(given: dict[str, Any], root: Path) -> dict[str, Any]:
    """An executor input whose output file lies below a folder instead of in `/s3`."""
    moved = copy.deepcopy(given)
    file = moved['outputs']['outputFile']
    moved['outputs']['outputFile'] = f'{root}{file}' if file.startswith('/s3/') else file
    return moved


def captured(name):
    return json.loads((CAPTURES / f'{name}.json').read_text())


def of_title(title):
    return {'instanceSchema': f'title: {title}\ntype: object\n'}


def taking(parameters=None, **titles):
    """An inputs spec: parameter types and artifact titles."""
    return {
        'parameters': {name: {'parameterType': kind} for name, kind in (parameters or {}).items()},
        'artifacts': {name: {'artifactType': of_title(title)} for name, title in titles.items()},
    }


def task(inputs=None, properties=None, parameters=(), **outputs):
    """An executor input as the driver makes it: inputs by name as (URI, metadata), outputs by name as title."""
    artifact = {'name': '7', 'type': {'instanceSchema': ''}}
    return {
        'inputs': {
            'artifacts': {
                name: {'artifacts': [{**artifact, 'uri': uri, 'metadata': metadata}]}
                for name, (uri, metadata) in (inputs or {}).items()
            },
            'parameterValues': properties or {},
        },
        'outputs': {
            'artifacts': {
                name: {'artifacts': [{'name': name, 'type': of_title(title), 'uri': f'{TASK_URI}/{name}'}]}
                for name, title in outputs.items()
            },
            'parameters': {name: {'outputFile': f'/tmp/kfp/outputs/{name}'} for name in parameters},
            'outputFile': f'{TASK_URI.replace("s3://", "/s3/")}/output_metadata.json',
        },
    }


def stored(tmp_path, name):
    """Where the output of a name lies."""
    return tmp_path / f'{TASK_URI}/{name}'.replace('s3://', 's3/')


def passed_on(metadata):
    """What Kubeflow's driver gives the consumer of what the producer's launcher read (see the contract)."""

    def value(one):
        if isinstance(one, list):
            return {'list': one}
        if isinstance(one, dict):
            return {'struct': one}
        return int(one) if isinstance(one, bool) else one

    return {key: value(one) for key, one in metadata.items()} | {
        'display_name': 'result',
        'store_session_info': '{"Provider":"s3"}',
    }


def without_names(output):
    """The genuine outputs were written with a name that says nothing."""
    plain = copy.deepcopy(output)
    for listed in plain['artifacts'].values():
        for artifact in listed['artifacts']:
            artifact.pop('name')
    return plain


def assert_the_launcher_reads(output):
    """The launcher refuses unknown fields and null, and a local path as URI makes the consumer fail."""
    json_format.ParseDict(output, pipeline_spec_pb2.ExecutorOutput())
    assert set(output) <= {'artifacts', 'parameterValues'}
    assert 'null' not in re.findall(r'\w+', json.dumps(output))
    for listed in output['artifacts'].values():
        assert [set(artifact) for artifact in listed['artifacts']] == [{'metadata'}]


CAPTURED = {
    'container-no-inputs': ('Generate', {}),
    'container-with-inputs': ('Train', taking(examples='tfx.Examples', schema='tfx.Schema')),
    'container-consumer-of-model': (
        'Call',
        taking(model='tfx.Model', blessing='tfx.ModelBlessing', report='system.HTML'),
    ),
    'container-with-dynamic-exec-property': ('Call', taking(blessing='tfx.ModelBlessing')),
    'container-with-output-parameters': ('Bless', taking(model='tfx.Model')),
    'exit-handler': ('Call', {}),
}


@pytest.mark.parametrize('capture', sorted(file.name.split('.')[0] for file in CAPTURES.glob('*.executor_input.json')))
def test_what_a_driver_resolved_runs(capture, start, executors):
    executor, spec = CAPTURED[capture]
    given = captured(f'{capture}.executor_input')
    ended = start(executor, given, spec)
    assert ended.status == 0, ended.errors
    assert_the_launcher_reads(ended.output)
    assert set(ended.output['artifacts']) == set(given['outputs']['artifacts']) - {'executor-logs'}
    (call, inputs, outputs, _) = executors.CALLS[0]
    assert set(inputs) == set(given['inputs'].get('artifacts', {}))
    assert 'executor-logs' not in outputs
    assert call._context.pipeline_run_id in given['outputs']['outputFile'].split('/')
    assert uuid.UUID(call._context.pipeline_run_id)


@pytest.mark.parametrize(
    ('capture', 'executor'), [('container-no-inputs', 'Generate'), ('container-with-inputs', 'Train')]
)
def test_a_whole_command_line_gives_the_output_that_the_launcher_took(
    capture, executor, process, executors, tmp_path, capfd
):
    executors.CALLS.clear()
    arguments = captured(f'{capture}.final_argv')[3:]
    arguments[1] = f'small_executors.{executor}'
    arguments[3] = arguments[3].replace('"/s3/', f'"{tmp_path}/s3/')
    assert entrypoint.main(arguments, tmp_path, executors.types) == 0, capfd.readouterr().err
    output = json.loads(Path(json.loads(arguments[3])['outputs']['outputFile']).read_text())
    genuine = without_names(captured(f'{capture}.executor_output'))
    if 'metrics' in genuine['artifacts']:
        # The one difference: it would be a row of the dashboard's table.
        del genuine['artifacts']['metrics']['artifacts'][0]['metadata']['tfx_version']
    assert output == genuine
    assert '--direct_num_workers=1' in flags_of(executors.CALLS[0][0])


def flags_of(executor):
    return getattr(executor, '_beam_pipeline_args', None) or executor._extra_flags


def test_an_executor_gets_what_the_capture_says(process, executors, tmp_path):
    executors.CALLS.clear()
    arguments = captured('container-with-inputs.final_argv')[3:]
    arguments[1] = 'small_executors.Train'
    arguments[3] = arguments[3].replace('"/s3/', f'"{tmp_path}/s3/')
    assert entrypoint.main(arguments, tmp_path, executors.types) == 0
    ((_, inputs, outputs, properties),) = executors.CALLS
    (examples,), (schema,) = inputs['examples'], inputs['schema']
    assert isinstance(examples, standard_artifacts.Examples)
    assert isinstance(schema, standard_artifacts.Schema)
    assert examples.uri == (
        f'{tmp_path}/s3/bucket/root/tfx-entry/{RUN}/gen/44b6643c-8922-41b6-ba28-06c74661153e/examples'
    )
    assert examples.split_names == '["train", "eval"]'
    assert examples.get_string_custom_property('file_format') == 'tfrecords_gzip'
    assert not examples.has_custom_property('store_session_info')
    assert not examples.has_custom_property('display_name')
    assert {name: type(found[0]) for name, found in outputs.items()} == {
        'metrics': dashboard.Metrics,
        'model': standard_artifacts.Model,
        'report': dashboard.Html,
    }
    assert properties == {
        'flag': 1,
        'layers': '[1, 2]',
        'lr': 0.1,
        'name': 'a',
        'opts': '{"k": 1, "z": "q"}',
        'steps': 3,
    }
    assert {name: type(value) for name, value in properties.items()} == {
        'flag': int,
        'layers': str,
        'lr': float,
        'name': str,
        'opts': str,
        'steps': int,
    }


def test_the_custom_properties_of_a_captured_model_come_back(start, executors):
    executor, spec = CAPTURED['container-consumer-of-model']
    start(executor, captured('container-consumer-of-model.executor_input'), spec)
    inputs = executors.CALLS[0][1]
    (model,), (blessing,) = inputs['model'], inputs['blessing']
    assert model.get_custom_property('my_int') == model.get_int_custom_property('my_int') == 7
    assert model.get_custom_property('my_float') == 0.25
    assert model.get_string_custom_property('my_str') == 'hello'
    assert model.get_json_value_custom_property('my_json') == {'a': [1, 'b']}
    assert blessing.get_int_custom_property('blessed') == 1


def test_no_local_path_is_given_as_uri_where_tfx_gives_one(start):
    executor, spec = CAPTURED['container-with-inputs']
    ended = start(executor, captured('container-with-inputs.executor_input'), spec)
    stock = captured('container-with-inputs.stock_tfx_output_json')['artifacts']
    assert all('uri' in listed['artifacts'][0] for listed in stock.values())
    assert set(ended.output['artifacts']) == set(stock)
    assert_the_launcher_reads(ended.output)


def test_output_parameters_of_a_capture_get_their_values(start):
    executor, spec = CAPTURED['container-with-output-parameters']
    ended = start(executor, captured('container-with-output-parameters.executor_input'), spec)
    assert ended.output['parameterValues'] == {'note': 'ok'}
    assert ended.output['artifacts']['note']['artifacts'][0]['metadata']['tfx_version'] == tfx.__version__


def test_an_output_parameter_without_an_artifact_gets_its_value(start, executors, tmp_path):
    ended = start('Bless', task(parameters=['note'], blessing='tfx.ModelBlessing', score='tfx.Float'))
    assert ended.output['parameterValues'] == {'note': 'ok'}
    assert set(ended.output['artifacts']) == {'blessing', 'score'}
    assert stored(tmp_path, 'score').read_text() == '0.75'
    (note,) = executors.CALLS[0][2]['note']
    assert not Path(note.uri).exists()
    assert not note.uri.startswith(str(stored(tmp_path, '')))


def test_an_output_parameter_without_a_value_is_an_error(start):
    ended = start('SayNothing', task(parameters=['note']))
    assert ended.status == 1
    assert ended.errors[-1] == "a-task: The output parameter 'note' has no value: the executor has to write one."
    assert ended.output is None


def test_every_kind_of_property_survives_the_way_to_a_consumer(start, executors):
    ended = start('Describe', task(result='faces.Everything'))
    assert_the_launcher_reads(ended.output)
    metadata = ended.output['artifacts']['result']['artifacts'][0]['metadata']
    given = task({'result': (f'{TASK_URI}/result', passed_on(metadata))})
    assert start('Call', given, taking(result='faces.Everything')).status == 0
    (result,) = executors.CALLS[1][1]['result']
    assert (result.count, result.share, result.note, result.sure) == (3, 0.5, 'text', True)
    assert isinstance(result.count, int)
    assert isinstance(result.sure, bool)
    assert result.table == {'rows': [[1, 2], [3, 4]], 'names': {'a': 'b'}, 'list': [1]}
    custom = ('whole', 'zero', 'empty', 'part', 'yes', 'no', 'sequence', 'mapping')
    assert {key: result.get_custom_property(key) for key in custom} == {
        'whole': 12,
        'zero': 0,
        'empty': '',
        'part': 0.125,
        'yes': 1,
        'no': 0,
        'sequence': [1, 'b', {'c': [2]}],
        'mapping': {'list': [1, 2]},
    }
    assert set(result.mlmd_artifact.custom_properties) == {*custom, 'tfx_version'}


def test_null_and_nan_are_left_out_of_the_metadata(start):
    ended = start('WriteNulls', task(result='tfx.Model'))
    assert_the_launcher_reads(ended.output)
    metadata = ended.output['artifacts']['result']['artifacts'][0]['metadata']
    assert metadata == {'holes': {'b': [1]}, 'one': 1, 'tfx_version': tfx.__version__}
    assert any('not_a_number, nothing' in line for line in ended.errors)


def test_a_null_in_the_metadata_of_an_input_is_as_if_absent(start, executors):
    given = task({'model': (f'{TASK_URI}/model', {'nothing': None, 'one': 1})})
    assert start('Call', given, taking(model='tfx.Model')).status == 0
    assert set(executors.CALLS[0][1]['model'][0].mlmd_artifact.custom_properties) == {'one'}


def test_the_dashboard_counts_no_version_among_the_metrics(start, executors):
    ended = start('Call', task(a='system.Metrics', b='system.ClassificationMetrics', c='tfx.Model'))
    metadata = {name: listed['artifacts'][0]['metadata'] for name, listed in ended.output['artifacts'].items()}
    assert metadata == {'a': {}, 'b': {}, 'c': {'tfx_version': tfx.__version__}}


def test_an_input_that_is_not_declared_is_dropped(start, executors):
    given = task({'_Evaluator.blessing': ('s3://bucket/blessing', {}), 'model': ('s3://bucket/model', {})})
    assert start('Call', given, taking(model='tfx.Model')).status == 0
    assert set(executors.CALLS[0][1]) == {'model'}


def test_the_declared_type_counts_and_not_the_one_that_arrives(start, executors):
    given = task({'model': ('s3://bucket/model', {})})
    given['inputs']['artifacts']['model']['artifacts'][0]['type'] = {'schemaTitle': 'system.Artifact'}
    start('Call', given, taking(model='tfx.Model'))
    assert isinstance(executors.CALLS[0][1]['model'][0], standard_artifacts.Model)


def test_execution_properties_have_the_types_that_executors_expect(start, executors):
    kinds = {
        'early': 'BOOLEAN',
        'late': 'BOOLEAN',
        'true': 'BOOLEAN',
        'false': 'BOOLEAN',
        'steps': 'NUMBER_INTEGER',
        'rate': 'NUMBER_DOUBLE',
        'words': 'STRING',
        'absent': 'STRING',
        'void': 'STRING',
    }
    given = {
        'early': 1,
        'late': 0,
        'true': True,
        'false': False,
        'steps': 3,
        'rate': 1,
        'words': '{"k": [1]}',
        'void': None,
    }
    assert start('Call', task(properties=given), taking(kinds)).status == 0
    properties = executors.CALLS[0][3]
    expected = {
        'early': True,
        'late': False,
        'true': True,
        'false': False,
        'steps': 3,
        'rate': 1.0,
        'words': '{"k": [1]}',
    }
    assert {name: (type(value), value) for name, value in properties.items()} == {
        name: (type(value), value) for name, value in expected.items()
    }


@pytest.mark.parametrize(
    ('uri', 'path'),
    [
        ('s3://b/k', '/s3/b/k'),
        ('minio://b/k/l', '/minio/b/k/l'),
        ('gs://b/k/', '/gcs/b/k'),
        ('oci://registry/image:1', '/oci/registry_image:1/models'),
        ('/mnt/k', '/mnt/k'),
        ('', ''),
    ],
)
def test_a_uri_becomes_the_path_of_the_launchers_copy(uri, path):
    assert artifacts.local_path(uri) == path


@pytest.mark.parametrize('uri', ['hdfs://b/k', 's3://', 's3://b/../../etc', 'gs:///'])
def test_a_uri_that_the_launcher_cannot_copy_is_refused(uri):
    with pytest.raises(StepError, match=re.escape(uri)):
        artifacts.local_path(uri)


def test_a_uri_that_leads_out_of_its_bucket_empties_no_folder(start, tmp_path):
    precious = tmp_path / 'precious'
    precious.mkdir()
    given = task(result='tfx.Model')
    given['outputs']['artifacts']['result']['artifacts'][0]['uri'] = 's3://bucket/../../precious'
    assert start('Call', given).status == 1
    assert precious.exists()


def test_an_output_without_a_uri_is_refused(start):
    given = task(result='tfx.Model')
    given['outputs']['artifacts']['result']['artifacts'][0]['uri'] = ''
    ended = start('Call', given)
    assert (ended.status, ended.output) == (1, None)
    assert ended.errors[-1].startswith("a-task: The output 'result' has no absolute path")


def test_local_paths_come_back_because_nobody_else_knows_them(start, tmp_path):
    """As kfp.local reads them."""
    given = local_task(tmp_path, result='tfx.Model')
    ended = start('WriteFiles', given | {'inputs': {'parameterValues': {'files': '["saved_model.pb"]'}}})
    assert ended.status == 0, ended.errors
    file = given['outputs']['outputFile']
    executor_input = json_format.ParseDict(given, pipeline_spec_pb2.ExecutorInput())
    written = executor_output_utils.add_type_to_executor_output(
        executor_input, executor_output_utils.load_executor_output(file)
    )
    read = executor_output_utils.artifact_list_to_dsl_artifact(written.artifacts['result'], is_artifact_list=False)
    assert isinstance(read, dsl.Artifact)
    assert read.name == 'result'
    assert read.metadata['tfx_version'] == tfx.__version__
    assert Path(read.path, 'saved_model.pb').is_file()


def local_task(tmp_path, **outputs):
    """An executor input as kfp.local makes it."""
    folder = tmp_path / 'outputs' / 'a-pipeline-2026-08-21-10-11-12-345678' / 'a-task'
    given = task(**outputs)
    for name in outputs:
        given['outputs']['artifacts'][name]['artifacts'][0]['uri'] = str(folder / name)
    given['outputs']['outputFile'] = str(folder / 'executor_output.json')
    return given


def test_the_run_of_kfp_local_is_its_pipelines_folder(start, executors, tmp_path):
    ended = start('Refuse', local_task(tmp_path))
    assert executors.CALLS[0][0]._context.pipeline_run_id == 'a-pipeline-2026-08-21-10-11-12-345678'
    assert ended.errors[-1].startswith('a-task: ')


def test_run_and_task_are_known_where_the_output_file_lies_elsewhere(start, executors, tmp_path):
    given = task(result='tfx.Model')
    given['outputs']['outputFile'] = str(tmp_path / 'kfp_outputs' / 'output_metadata.json')
    ended = start('Call', given)
    assert ended.output is not None
    assert executors.CALLS[0][0]._context.pipeline_run_id == RUN
    assert 'a-task' in ended.errors[0]


def test_an_executor_of_beam_gets_beams_arguments_and_a_temporary_folder(start, executors, tmp_path):
    assert start('BeamCall', task(), None, '--direct_num_workers=1', '--runner=DirectRunner').status == 0
    call = executors.CALLS[0][0]
    assert {'--direct_num_workers=1', '--runner=DirectRunner'} <= set(call._beam_pipeline_args)
    assert not {flag for flag in call._beam_pipeline_args if 'code' in flag}
    assert call._context.pipeline_run_id == RUN
    assert not call._context.get_tmp_path().startswith(str(tmp_path / 's3'))


def test_the_evaluators_blessing_names_the_model_as_kubeflow_does(start):
    given = captured('container-consumer-of-model.executor_input')
    uri = given['outputs']['artifacts']['executor-logs']['artifacts'][0]['uri'].replace('executor-logs', 'blessing')
    given['outputs']['artifacts']['blessing'] = {
        'artifacts': [{'name': 'blessing', 'type': of_title('tfx.ModelBlessing'), 'uri': uri}]
    }
    ended = start('Evaluate', given, taking(model='tfx.Model'))
    assert ended.status == 0, ended.errors
    metadata = ended.output['artifacts']['blessing']['artifacts'][0]['metadata']
    assert metadata[constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY] == '21'


def written(start, title, *files, kinds=None):
    return start('WriteFiles', task(properties={'files': json.dumps(files)}, result=title), kinds=kinds)


def below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob('*')}


@pytest.mark.parametrize('files', [(), ('assets/', 'variables/inner/')])
def test_an_output_without_files_is_kept_alive_in_the_object_store(files, start, executors, tmp_path):
    assert written(start, 'tfx.Model', *files).status == 0
    folder = stored(tmp_path, 'result')
    assert {name for name in below(folder) if (folder / name).is_file()} == {'.keep'}
    # What an object store makes of it is empty again for the consumer.
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / '.keep').touch()
    given = task({'result': (f'{TASK_URI}/result', {})})
    assert start('Call', given, taking(result='tfx.Model')).status == 0
    assert below(folder) == set()


def test_nothing_is_added_to_an_output_that_holds_a_file(start, tmp_path):
    assert written(start, 'tfx.Examples', 'Split-train/data.gz', 'Split-eval/').status == 0
    assert below(stored(tmp_path, 'result')) == {'Split-train', 'Split-train/data.gz', 'Split-eval'}


def test_nothing_is_added_to_a_local_folder(start, tmp_path):
    given = local_task(tmp_path, result='tfx.Model')
    assert start('Call', given).status == 0
    assert below(Path(given['outputs']['artifacts']['result']['artifacts'][0]['uri'])) == set()


def test_a_folders_marker_that_was_downloaded_as_a_file_is_a_folder(start, executors, tmp_path):
    marker = tmp_path / 's3/bucket/model'
    marker.parent.mkdir(parents=True)
    marker.touch()
    start('Call', task({'model': ('s3://bucket/model/', {})}), taking(model='tfx.Model'))
    assert marker.is_dir()


def test_an_empty_file_is_a_value_where_the_type_says_so(start, tmp_path):
    note = tmp_path / 's3/bucket/note'
    note.parent.mkdir(parents=True)
    note.touch()
    start('Call', task({'note': ('s3://bucket/note', {})}), taking(note='tfx.String'))
    assert note.is_file()


def test_a_page_is_one_file_at_the_artifacts_path(start, tmp_path):
    executor, spec = CAPTURED['container-with-inputs']
    given = captured('container-with-inputs.executor_input')
    assert start(executor, given, spec).status == 0
    uri = given['outputs']['artifacts']['report']['artifacts'][0]['uri']
    assert (tmp_path / uri.replace('s3://', 's3/')).read_text() == '<p>well'


@pytest.mark.parametrize('title', ['system.HTML', 'system.Markdown'])
def test_a_page_in_a_folder_becomes_one_file_at_the_artifacts_path(title, start, executors, tmp_path):
    assert written(start, title, 'report.html', kinds=executors.types_of_folders).status == 0
    assert stored(tmp_path, 'result').read_text() == 'report.html'
    assert below(stored(tmp_path, '')) == {'result', 'output_metadata.json'}


@pytest.mark.parametrize('files', [(), ('a.html', 'b.html'), ('folder/',)])
def test_what_the_dashboard_shows_is_exactly_one_file(files, start, executors):
    ended = written(start, 'system.HTML', *files, kinds=executors.types_of_folders)
    assert (ended.status, ended.output) == (1, None)
    assert ended.errors[-1].startswith("a-task: The output 'result' is shown as one file, but ")
    assert 'Traceback' not in '\n'.join(ended.errors)


def test_a_retry_begins_with_empty_outputs(start, executors, tmp_path):
    given = task(model='tfx.Model', score='tfx.Float', page='system.HTML')
    for name in ('model', 'score', 'page'):
        (stored(tmp_path, name) / 'old').mkdir(parents=True)
        (stored(tmp_path, name) / 'old' / 'part').touch()
    assert start('LookAround', given).status == 0
    assert executors.CALLS[0][0].found == []
    assert below(stored(tmp_path, '')) == {'model', 'model/.keep', 'score', 'page', 'output_metadata.json'}
    assert stored(tmp_path, 'score').read_bytes() == stored(tmp_path, 'page').read_bytes() == b''


def test_a_retry_does_not_take_the_answer_of_the_attempt_before_for_its_own(start, tmp_path):
    remains = stored(tmp_path, 'output_metadata.json')
    remains.parent.mkdir(parents=True)
    remains.write_text('{"parameterValues": {"files": "x"}}')
    assert start('Refuse', task()).output is None


@pytest.mark.parametrize('kinds', ['types', 'types_of_folders'])
def test_a_retry_takes_the_place_of_a_page_that_was_written(kinds, start, executors, tmp_path):
    stored(tmp_path, 'result').parent.mkdir(parents=True)
    stored(tmp_path, 'result').write_text('old')
    start('LookAround', task(result='system.HTML'), kinds=getattr(executors, kinds))
    path = stored(tmp_path, 'result')
    assert path.is_dir() or path.read_text() == ''


def test_an_error_that_a_user_can_mend_is_one_line(start):
    ended = start('Refuse', task(result='tfx.Model'))
    assert (ended.status, ended.output) == (1, None)
    assert ended.errors[-1] == 'a-task: The data are wrong: mend them.'
    assert 'Traceback' not in '\n'.join(ended.errors)


def test_any_other_error_ends_in_one_line_after_the_stack_trace(start):
    ended = start('Crash', task(result='tfx.Model'))
    assert (ended.status, ended.output) == (1, None)
    assert ended.errors[-1] == 'a-task: ValueError: first line'
    assert any(line.endswith('a-task: Traceback (most recent call last):') for line in ended.errors)
    assert all(LOG_LINE.match(line) for line in ended.errors[:-1])


def test_an_executor_that_leaves_the_process_has_failed(start):
    assert start('Leave', task(result='tfx.Model')).status == 1


def test_an_unknown_executor_is_named(start):
    ended = start('Nobody', task())
    assert ended.status == 1
    assert 'Nobody' in ended.errors[-1]


def test_an_artifact_type_without_a_class_is_named(start):
    ended = start('Call', task(result='unknown.Thing'))
    assert ended.status == 1
    assert 'unknown' in ended.errors[-1]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'required: --executor_class_path'),
        (['--executor_class_path=a.B', '--json_serialized_inputs_spec_args={}'], 'json_serialized_invocation_args'),
        (
            [
                '--executor_class_path=a.B',
                '--json_serialized_inputs_spec_args={}',
                '--json_serialized_invocation_args={{$}}',
            ],
            '--json_serialized_invocation_args cannot be read',
        ),
        (
            [
                '--executor_class_path=a.B',
                '--json_serialized_inputs_spec_args=[',
                '--json_serialized_invocation_args={}',
            ],
            '--json_serialized_inputs_spec_args cannot be read',
        ),
        (
            [
                '--executor_class_path=a.B',
                '--json_serialized_inputs_spec_args={}',
                '--json_serialized_invocation_args={}',
            ],
            'names no outputs.outputFile',
        ),
        (
            [
                '--executor_class_path=a.B',
                '--json_serialized_inputs_spec_args={}',
                '--json_serialized_invocation_args='
                + '{"inputs":{"parameterValues":{"a":'
                + '[' * 5000
                + ']' * 5000
                + '}}}',
            ],
            'cannot be read',
        ),
    ],
)
def test_arguments_that_cannot_be_read_are_one_line(arguments, message, process, capsys):
    assert entrypoint.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('entrypoint: ')
    assert message in line


def test_what_a_newer_kubeflow_says_besides_is_passed_over(start):
    given = task(result='tfx.Model')
    given['outputs']['artifacts']['result']['artifacts'][0]['customPath'] = ''
    assert start('Call', given | {'somethingNew': {}}).status == 0


def test_every_line_of_the_log_begins_with_time_level_and_task(start):
    lines = start('Talk', task()).errors
    assert all(LOG_LINE.match(line) for line in lines)
    assert {'two', 'lines', 'absl speaks'} <= {LOG_LINE.sub('', line) for line in lines}


def test_the_first_line_of_the_log_says_which_retry_it_is(start, monkeypatch):
    assert 'retry' not in start('Call', task()).errors[0]
    monkeypatch.setenv('KFP_RETRY_INDEX', '2')
    first = start('Call', task()).errors[0]
    assert 'retry 2' in first
    assert RUN in first


@pytest.fixture
def bucket():
    """A bucket of the launcher's own folder, as in a container."""
    if not os.access('/', os.W_OK):
        pytest.skip('/ IS NOT WRITABLE: the entrypoint is not tried on the real /s3')
    name = f'bucket-{uuid.uuid4()}'
    made = not Path('/s3').exists()
    Path('/s3', name).mkdir(parents=True)
    yield name
    shutil.rmtree(Path('/s3', name))
    if made:
        with contextlib.suppress(OSError):  # somebody else uses it by now
            Path('/s3').rmdir()


def command(executor, given, spec):
    return [
        sys.executable,
        '-m',
        'pipeline.kubeflow.entrypoint',
        '--executor_class_path',
        f'small_executors.{executor}',
        '--json_serialized_invocation_args',
        json.dumps(given),
        '--json_serialized_inputs_spec_args',
        json.dumps(spec),
    ]


def environment(temporary):
    return {**os.environ, 'PYTHONPATH': f'{ROOT}{os.pathsep}{Path(__file__).parent}', 'TMPDIR': str(temporary)}


def test_a_container_writes_into_the_launchers_real_folder(bucket, tmp_path):
    given = json.loads(
        json.dumps(task(properties={'files': '["report.html"]'}, result='faces.RunReport')).replace('bucket', bucket)
    )
    spec = taking({'files': 'STRING'})
    ended = subprocess.run(
        command('WriteFiles', given, spec),
        env=environment(tmp_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    output = Path(given['outputs']['outputFile'])
    assert output.is_relative_to(f'/s3/{bucket}')
    assert_the_launcher_reads(json.loads(output.read_text()))
    assert {path.name for path in output.parent.iterdir()} == {'output_metadata.json', 'result'}
    assert (output.parent / 'result' / 'report.html').read_text() == 'report.html'
    assert LOG_LINE.match(ended.stderr)


def test_a_pod_that_kubernetes_ends_says_so_in_one_line(tmp_path):
    given = local_task(tmp_path, result='tfx.Model')
    with subprocess.Popen(
        command('Wait', given, {}), env=environment(tmp_path), cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        assert any('waiting' in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.stderr.read() == 'a-task: ended by SIGTERM\n'
    assert process.returncode == 143
    assert not Path(given['outputs']['outputFile']).exists()
