"""The artifacts that Kubeflow's dashboard draws: their types, their way through a pipeline, the report in its frame."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from ml_metadata import MetadataStore
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.orchestration import metadata
from tfx.orchestration.kubeflow.v2 import compiler_utils
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import artifact_utils, component_spec

from components.dashboard import ClassificationMetrics, Html, Markdown, Metrics, framed
from components.report.render import render
from tests.components import viewer

KINDS = {'page': Html, 'text': Markdown, 'figures': Metrics, 'curve': ClassificationMetrics}
CURVE = [{'confidenceThreshold': 0.5, 'falsePositiveRate': 0.25, 'recall': 1.0}]
MATRIX = {'annotationSpecs': [{'displayName': 'sad'}], 'rows': [{'row': [3]}]}

needs_chromium = pytest.mark.skipif(
    not viewer.has_chromium(), reason='NOT TESTED: no chromium here (apt-get install chromium) shows the pages'
)


class PaintingSpec(component_spec.ComponentSpec):
    PARAMETERS: dict = {}
    INPUTS: dict = {}
    OUTPUTS = {name: component_spec.ChannelParameter(type=kind) for name, kind in KINDS.items()}


class PaintingExecutor(base_executor.BaseExecutor):
    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        page, text, figures, curve = (artifact_utils.get_single_instance(output_dict[name]) for name in KINDS)
        page.value, text.value = '<h1>Grüße</h1>', '# Grüße'
        figures.set_float_custom_property('accuracy', 0.75)
        curve.set_json_value_custom_property('confidenceMetrics', CURVE)
        curve.set_json_value_custom_property('confusionMatrix', MATRIX)


class Painting(base_component.BaseComponent):
    SPEC_CLASS = PaintingSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(PaintingExecutor)

    def __init__(self):
        super().__init__(PaintingSpec(**{name: types.Channel(type=kind) for name, kind in KINDS.items()}))


def pipeline(folder: Path) -> Pipeline:
    return Pipeline(
        pipeline_name='painting',
        pipeline_root=str(folder / 'root'),
        components=[Painting()],
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(folder / 'metadata.sqlite')),
    )


@pytest.fixture(scope='module')
def painted(tmp_path_factory) -> dict[str, types.Artifact]:
    """What a local run of the pipeline left in ML Metadata, by output."""
    folder = tmp_path_factory.mktemp('painting')
    LocalDagRunner().run(pipeline(folder))
    connection = metadata.sqlite_metadata_connection_config(str(folder / 'metadata.sqlite'))
    store = MetadataStore(connection)
    found = {}
    for name, kind in KINDS.items():
        (artifact,) = store.get_artifacts_by_type(kind.TYPE_NAME)
        found[name] = artifact_utils.deserialize_artifact(store.get_artifact_type(kind.TYPE_NAME), artifact)
    return found


@pytest.mark.parametrize('kind', KINDS.values())
def test_the_schema_of_an_artifact_has_the_title_that_the_dashboard_goes_by(kind):
    assert yaml.safe_load(compiler_utils.get_artifact_schema(kind))['title'] == kind.TYPE_NAME


def test_a_compiled_pipeline_names_the_types_and_makes_no_parameter_of_a_text(tmp_path):
    file = tmp_path / 'painting.yaml'
    KubeflowV2DagRunner(KubeflowV2DagRunnerConfig(use_pipeline_spec_2_1=True), output_filename=str(file)).run(
        pipeline(tmp_path)
    )
    compiled = yaml.safe_load(file.read_text(encoding='utf-8'))
    spec = compiled.get('pipelineSpec', compiled)
    outputs = spec['components']['Painting']['outputDefinitions']
    titles = {
        name: yaml.safe_load(found['artifactType']['instanceSchema'])['title']
        for name, found in outputs['artifacts'].items()
    }
    assert titles == {name: kind.TYPE_NAME for name, kind in KINDS.items()}
    assert 'parameters' not in outputs


def test_a_local_run_keeps_texts_in_one_file_each(painted):
    assert Path(painted['page'].uri).read_bytes() == '<h1>Grüße</h1>'.encode()
    assert painted['text'].read() == '# Grüße'


def test_a_local_run_keeps_figures_curves_and_matrices_as_properties(painted):
    assert painted['figures'].get_float_custom_property('accuracy') == 0.75
    properties = viewer.metadata(painted['curve'])
    assert (properties['confidenceMetrics'], properties['confusionMatrix']) == (CURVE, MATRIX)
    assert viewer.confusion_table(properties) == (['sad'], [[3]])
    assert viewer.roc_points(properties) == [(0.25, 1.0)]


@needs_chromium
def test_the_report_shows_whole_in_the_dashboards_frame_and_asks_for_nothing(record):
    seen = viewer.open_in_dashboard(framed(render(record)))
    if folder := os.environ.get('SCREENSHOTS'):
        (Path(folder) / 'report.png').write_bytes(seen.screenshot)
    assert seen.requests == []
    assert seen.errors == []
    assert seen.headings[0] == 'Pushed'
    assert {'Expression: the model', 'Keypoints: the data', 'Serving', 'What ran'} <= set(seen.headings)
    assert '<script>alert("x")</script>.csv' in seen.text
    assert seen.overflow <= 0
    pictures, broken = seen.pictures
    assert (pictures > 20, broken) == (True, 0)


@needs_chromium
def test_links_of_the_report_stay_in_the_frame(record):
    page = render(record)
    links = viewer.open_in_dashboard(framed(page)).links
    assert len(links) > 4
    assert all(link.startswith('about:srcdoc#') for link in links)
    (left, *_) = viewer.open_in_dashboard(page).links
    assert not left.startswith('about:srcdoc'), 'without the base the dashboard itself appears in the frame'


@needs_chromium
def test_a_page_that_reaches_out_is_seen():
    page = '<!doctype html><head></head><img src="http://example.org/a.png"><script>throw new Error("broken")</script>'
    seen = viewer.open_in_dashboard(framed(page))
    assert seen.requests == ['http://example.org/a.png']
    assert seen.pictures == (1, 1)
    assert any('ERR_NAME_NOT_RESOLVED' in error for error in seen.errors)
    assert 'Uncaught' in seen.errors
