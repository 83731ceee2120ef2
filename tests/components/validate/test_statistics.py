"""The step that computes statistics, as the pipeline runs it."""

from pathlib import Path

import tensorflow as tf
import tensorflow_data_validation as tfdv
from tfx.types import artifact_utils, standard_artifacts

from components import faces
from components.validate.packaged_schema import Executor as ImportSchema
from components.validate.statistics import Executor


def test_each_split_has_statistics_of_its_images_and_no_guesses(tmp_path: Path, examples):
    data, schema = standard_artifacts.Examples(), standard_artifacts.Schema()
    statistics = standard_artifacts.ExampleStatistics()
    data.uri, schema.uri, statistics.uri = (str(tmp_path / name) for name in ('examples', 'schema', 'statistics'))
    data.split_names = artifact_utils.encode_split_names(list(faces.SPLITS))
    data.span = 3
    of_task = examples[faces.EXPRESSION_MODEL]
    for split, rows in ((faces.TRAIN_SPLIT, of_task[:100]), (faces.EVAL_SPLIT, of_task[100:])):
        file = tmp_path / 'examples' / f'Split-{split}' / 'data_tfrecord-00000-of-00001.gz'
        file.parent.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(file), 'GZIP') as writer:
            for row in rows:
                writer.write(row)
    ImportSchema().Do({}, {'schema': [schema]}, {'task': faces.EXPRESSION_MODEL})
    beam = ['--direct_running_mode=in_memory', '--direct_num_workers=1', '--sdk_container_image=none']
    Executor(Executor.Context(beam_pipeline_args=beam)).Do(
        {'examples': [data], 'schema': [schema]}, {'statistics': [statistics]}, {}
    )
    assert (statistics.split_names, statistics.span) == (data.split_names, 3)
    for split, count in ((faces.TRAIN_SPLIT, 100), (faces.EVAL_SPLIT, 20)):
        found = tfdv.load_stats_binary(str(tmp_path / 'statistics' / f'Split-{split}' / 'FeatureStats.pb')).datasets[0]
        assert found.num_examples == count
        kinds = {
            feature.path.step[0]: {kind.name for kind in feature.custom_stats}
            for feature in found.features
            if feature.custom_stats
        }
        assert set(kinds) <= {faces.IMAGE}
        # TFDV takes no fewer than a hundred values for images.
        assert count < 100 or 'image_format_histogram' in kinds[faces.IMAGE]
