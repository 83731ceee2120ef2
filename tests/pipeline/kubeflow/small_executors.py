"""Small executors that the entrypoint runs in the tests, and an artifact type that tries what metadata can hold."""

import contextlib
import json
import logging
import sys
import time
from pathlib import Path

from absl import logging as absl_logging
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as evaluator_executor
from tfx.dsl.components.base import base_beam_executor, base_executor
from tfx.types import artifact, artifact_utils

from components.errors import StepError
from pipeline.kubeflow.artifacts import artifact_types

CALLS = []
"""Each call of an executor: the executor, its inputs, outputs and execution properties."""


class HtmlFolder(artifact.Artifact):
    """A page in a folder, as TFX's artifacts are by default."""

    TYPE_NAME = 'system.HTML'


class MarkdownFolder(artifact.Artifact):
    TYPE_NAME = 'system.Markdown'


class Everything(artifact.Artifact):
    """Declares a property of each kind."""

    TYPE_NAME = 'faces.Everything'
    PROPERTIES = {
        'count': artifact.Property(artifact.PropertyType.INT),
        'share': artifact.Property(artifact.PropertyType.FLOAT),
        'note': artifact.Property(artifact.PropertyType.STRING),
        'sure': artifact.Property(artifact.PropertyType.BOOLEAN),
        'table': artifact.Property(artifact.PropertyType.JSON_VALUE),
    }


def types():
    return *artifact_types(), Everything


def types_of_folders():
    return HtmlFolder, MarkdownFolder


class Call(base_executor.BaseExecutor):
    """Remembers that it was called; the others write something too."""

    def Do(self, input_dict, output_dict, exec_properties):
        CALLS.append((self, input_dict, output_dict, exec_properties))
        self.write(output_dict, exec_properties)

    def write(self, outputs, properties):
        pass


class BeamCall(base_beam_executor.BaseBeamExecutor):
    def Do(self, input_dict, output_dict, exec_properties):
        CALLS.append((self, input_dict, output_dict, exec_properties))


class Generate(BeamCall):
    """As the executor of the capture `container-no-inputs`."""

    def Do(self, input_dict, output_dict, exec_properties):
        super().Do(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(output_dict['examples'])
        examples.split_names = artifact_utils.encode_split_names(['train', 'eval'])
        examples.set_string_custom_property('payload_format', 'FORMAT_TF_EXAMPLE')
        examples.set_string_custom_property('file_format', 'tfrecords_gzip')
        for split in ('train', 'eval'):
            folder = Path(examples.uri) / f'Split-{split}'
            folder.mkdir()
            (folder / 'data.gz').write_bytes(b'x')


class Train(Call):
    """As the executor of the capture `container-with-inputs`."""

    def write(self, outputs, properties):
        model = artifact_utils.get_single_instance(outputs['model'])
        model.set_int_custom_property('my_int', 7)
        model.set_float_custom_property('my_float', 0.25)
        model.set_string_custom_property('my_str', 'hello')
        model.set_json_value_custom_property('my_json', {'a': [1, 'b']})
        (Path(model.uri) / 'assets').mkdir()
        (Path(model.uri) / 'saved_model.pb').write_bytes(b'x')
        Path(artifact_utils.get_single_uri(outputs['report'])).write_text('<p>well')
        artifact_utils.get_single_instance(outputs['metrics']).set_float_custom_property('accuracy', 0.9)


class Bless(Call):
    """As the executor of the capture `container-with-output-parameters`."""

    def write(self, outputs, properties):
        (Path(artifact_utils.get_single_uri(outputs['blessing'])) / 'BLESSED').touch()
        artifact_utils.get_single_instance(outputs['note']).value = 'ok'
        artifact_utils.get_single_instance(outputs['score']).value = 0.75


class Evaluate(evaluator_executor.Executor):
    """Names in the blessing the model that it saw, as TFX's Evaluator does."""

    def Do(self, input_dict, output_dict, exec_properties):
        blessing = artifact_utils.get_single_instance(output_dict['blessing'])
        seen = artifact_utils.get_single_instance(input_dict['model'])
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, seen.id)


class SayNothing(Call):
    """Does not give its output parameter a value."""

    def write(self, outputs, properties):
        artifact_utils.get_single_instance(outputs['note']).value = None


class Describe(Call):
    """Sets each property that an artifact can have."""

    def write(self, outputs, properties):
        result = artifact_utils.get_single_instance(outputs['result'])
        result.count, result.share, result.note, result.sure = 3, 0.5, 'text', True
        result.table = {'rows': [[1, 2], [3, 4]], 'names': {'a': 'b'}, 'list': [1]}
        result.set_int_custom_property('whole', 12)
        result.set_int_custom_property('zero', 0)
        result.set_string_custom_property('empty', '')
        result.set_float_custom_property('part', 0.125)
        result.set_bool_custom_property('yes', True)
        result.set_bool_custom_property('no', False)
        result.set_json_value_custom_property('sequence', [1, 'b', {'c': [2]}])
        result.set_json_value_custom_property('mapping', {'list': [1, 2]})


class WriteNulls(Call):
    """Leaves holes in the metadata."""

    def write(self, outputs, properties):
        result = artifact_utils.get_single_instance(outputs['result'])
        result.mlmd_artifact.custom_properties['nothing'].SetInParent()
        result.set_json_value_custom_property('holes', {'a': None, 'b': [None, 1]})
        result.set_float_custom_property('not_a_number', float('nan'))
        result.set_int_custom_property('one', 1)


class WriteFiles(Call):
    """Writes the files that an execution property lists into its only output."""

    def write(self, outputs, properties):
        folder = Path(artifact_utils.get_single_uri(outputs['result']))
        for name in json.loads(properties['files']):
            path = folder / name
            if name.endswith('/'):
                path.mkdir(parents=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(name)


class LookAround(Call):
    """Notes what it finds in its outputs."""

    found: list[str]

    def write(self, outputs, properties):
        folders = [Path(artifact_utils.get_single_uri(output)) for output in outputs.values()]
        self.found = [str(path) for folder in folders if folder.is_dir() for path in folder.rglob('*')]


class Refuse(Call):
    def write(self, outputs, properties):
        raise StepError('The data are wrong: mend them.')


class Crash(Call):
    def write(self, outputs, properties):
        raise ValueError('first line\nsecond line')


class Leave(Call):
    def write(self, outputs, properties):
        sys.exit()


class Talk(Call):
    def write(self, outputs, properties):
        logging.getLogger('tfx.somewhere').info('two\nlines')
        absl_logging.info('absl speaks')


class Wait(Call):
    """Goes on for ever, and catches whatever is raised."""

    def write(self, outputs, properties):
        logging.getLogger(__name__).info('waiting')
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(60)
