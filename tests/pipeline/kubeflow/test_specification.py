"""Compiled pipelines as they are submitted, read from what kfp's own compiler writes."""

import json
from pathlib import Path

import pytest
import yaml
from kfp import compiler, dsl

from components.errors import StepError
from pipeline.kubeflow.specification import read, read_file, without_cache


@dsl.container_component
def step(text: str):
    return dsl.ContainerSpec(image='python:3.11', command=['echo'], args=[text])


@dsl.pipeline(name='faces')
def faces(
    epochs: int,
    rate: float = 0.1,
    fresh: bool = False,
    note: str = 'x',
    sizes: list = [1],  # noqa: B006 - the compiler reads it
    more: dict = {'a': 1},  # noqa: B006
):
    first = step(text=note)
    with dsl.If(rate > 0.5):  # type: ignore[operator]
        step(text=note).after(first)


@pytest.fixture
def compiled(tmp_path) -> Path:
    file = tmp_path / 'faces.yaml'
    compiler.Compiler().compile(faces, str(file))
    return file


def test_name_tasks_and_parameters_are_those_that_were_compiled(compiled):
    specification = read_file(compiled)
    assert specification.name == 'faces'
    assert specification.tasks == ('step', 'step-2')
    assert {name: parameter.kind for name, parameter in specification.parameters.items()} == {
        'epochs': 'NUMBER_INTEGER',
        'rate': 'NUMBER_DOUBLE',
        'fresh': 'BOOLEAN',
        'note': 'STRING',
        'sizes': 'LIST',
        'more': 'STRUCT',
    }


def test_the_version_depends_on_the_content_alone(compiled, tmp_path):
    copy = tmp_path / 'copy.yaml'
    copy.write_bytes(compiled.read_bytes())
    assert read_file(copy).version == read_file(compiled).version
    copy.write_text(compiled.read_text().replace('echo', 'cat'))
    assert read_file(copy).version != read_file(compiled).version


def test_values_have_the_types_of_the_parameters(compiled):
    given = ['epochs=3', 'rate=1', 'fresh=true', 'note=12', 'sizes=["a"]', 'more={"b": null}']
    assert read_file(compiled).arguments(given) == {
        'epochs': 3,
        'rate': 1,
        'fresh': True,
        'note': '12',
        'sizes': ['a'],
        'more': {'b': None},
    }


@pytest.mark.parametrize(
    ('assignments', 'complaint'),
    [
        (['epochs=1.5'], 'expected a whole number'),
        (['epochs=true'], 'expected a whole number'),
        (['epochs=three'], 'expected a whole number'),
        ([f'epochs={10**400}'], 'too large'),
        (['epochs=1', 'rate=NaN'], 'too large'),
        (['epochs=1', 'fresh=1'], 'expected true or false'),
        (['epochs=1', 'sizes=a'], 'expected a list'),
        (['epochs=1', 'more=[]'], 'expected an object'),
        (['epoch=1'], 'did you mean epochs?'),
        (['epochs'], 'write it as NAME=VALUE'),
        (['rate=1'], 'needs a value for epochs'),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(compiled, assignments, complaint):
    with pytest.raises(StepError) as caught:
        read_file(compiled).arguments(assignments)
    assert complaint in str(caught.value) and '\n' not in str(caught.value)


def test_without_cache_every_task_runs_also_within_a_condition(compiled):
    specification = read_file(compiled)
    fresh = without_cache(specification)
    tasks = json.dumps(list(yaml.safe_load_all(fresh.text))).count('"enableCache": false')
    assert tasks == 3  # two steps and the condition
    assert 'enableCache: true' not in fresh.text
    assert (fresh.name, fresh.tasks, fresh.parameters) == (
        specification.name,
        specification.tasks,
        specification.parameters,
    )
    assert fresh.version != specification.version


@pytest.mark.parametrize(
    ('content', 'complaint'),
    [
        (b'', 'has no root'),
        (b'a: b: c', 'cannot be read as YAML'),
        (b'[' * 5000, 'cannot be read as YAML'),
        (b'root: {dag: {}}', 'has no name'),
        (b'- root', 'has no root'),
        (b'\xff\xfe', 'no text in UTF-8'),
        (b'!!python/object/apply:os.system [ls]', 'cannot be read as YAML'),
    ],
    ids=['empty', 'broken', 'nested', 'nameless', 'a list', 'no text', 'an object of Python'],
)
def test_a_file_that_is_no_compiled_pipeline_is_refused(tmp_path, content, complaint):
    file = tmp_path / 'pipeline.yaml'
    file.write_bytes(content)
    with pytest.raises(StepError, match=complaint):
        read_file(file)


def test_a_file_larger_than_the_server_takes_is_refused(tmp_path):
    file = tmp_path / 'pipeline.yaml'
    with file.open('wb') as stream:
        stream.truncate(33 * 1024 * 1024)
    with pytest.raises(StepError, match='32 MiB'):
        read_file(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StepError, match='none.yaml cannot be read'):
        read_file(tmp_path / 'none.yaml')


def test_sections_of_another_shape_are_taken_as_empty():
    specification = read('root: {dag: [], inputDefinitions: 3}\npipelineInfo: {name: x}\ncomponents: text\n')
    assert (specification.parameters, specification.tasks) == ({}, ())
