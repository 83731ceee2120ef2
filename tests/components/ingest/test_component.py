import json
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner
from tfx.orchestration.local.local_dag_runner import LocalDagRunner

from components.ingest import sources
from components.ingest.component import FaceExampleGen
from components.settings import IngestSettings, from_json, to_json
from components.source import fingerprint

BEAM = ['--direct_running_mode=in_memory', '--direct_num_workers=1', '--sdk_container_image=none']


@pytest.fixture
def ingest(table, text, face):
    path = table('faces.csv', 'emotion,pixels', [f'{n % 5},{text(face(n))}' for n in range(20)])
    return IngestSettings(files=(path,), mapping={'angry': 'anger'})


def make_pipeline(step, folder):
    return pipeline.Pipeline(
        pipeline_name='ingest',
        pipeline_root=str(folder / 'root'),
        components=[step],
        enable_cache=True,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(folder / 'metadata.db')),
        beam_pipeline_args=BEAM,
    )


def test_all_that_changes_the_result_is_in_the_execution_properties(ingest):
    step = FaceExampleGen('expression', to_json(ingest), data='abc')
    properties = step.exec_properties
    assert properties['task'] == 'expression'
    assert properties['data'] == 'abc'
    assert properties['code'] == fingerprint('ingest')
    assert from_json(IngestSettings, properties['settings']) == ingest


def test_a_run_is_recorded_and_reused_until_the_data_change(ingest, tmp_path):
    def run():
        step = FaceExampleGen('expression', to_json(ingest), sources.resolve(ingest).fingerprint)
        flow = make_pipeline(step, tmp_path)
        LocalDagRunner().run(flow)
        with metadata.Metadata(flow.metadata_connection_config) as store:
            found = store.store.get_executions()
            states = metadata_store_pb2.Execution.State
            return [states.Name(execution.last_known_state) for execution in sorted(found, key=lambda e: e.id)]

    assert run() == ['COMPLETE']
    assert run() == ['COMPLETE', 'CACHED']
    with Path(ingest.files[0]).open('a') as stream:
        stream.write('1,1 2 3\n')
    assert run() == ['COMPLETE', 'CACHED', 'COMPLETE']
    folder = max((tmp_path / 'root/FaceExampleGen/rejects').iterdir(), key=lambda path: int(path.name))
    assert json.loads((folder / 'summary.json').read_text())['rejected'] == {'wrong number of pixels': 1}


def test_it_compiles_for_kubeflow(ingest, tmp_path):
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(use_pipeline_spec_2_1=True),
        output_dir=str(tmp_path),
        output_filename='pipeline.json',
    )
    runner.run(make_pipeline(FaceExampleGen('expression', to_json(ingest)), tmp_path), write_out=True)
    spec = json.loads((tmp_path / 'pipeline.json').read_text())['pipelineSpec']
    (task,) = spec['root']['dag']['tasks'].values()
    parameters = task['inputs']['parameters']
    assert set(parameters) >= {'task', 'settings', 'code'}
