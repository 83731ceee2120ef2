"""StatisticsGen without the guesses that cost most: whether a text is a time or natural language."""

from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics.generators.image_stats_generator import ImageStatsGenerator
from tfx import types
from tfx.components.statistics_gen import executor as statistics_gen
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.util import tfxio_utils
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import artifact_utils
from tfx.types import standard_component_specs as keys
from tfx.utils import io_utils


class Executor(statistics_gen.Executor):
    """TFDV's statistics of each split, those of images among them.

    `StatsOptions.enable_semantic_domain_stats` would also hold each text against a hundred formats of dates and times,
    five sixths of the time of the whole step. It infers domains, for a schema that does not know them; ours does.
    """

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict[keys.EXAMPLES_KEY])
        statistics = artifact_utils.get_single_instance(output_dict[keys.STATISTICS_KEY])
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict[keys.SCHEMA_KEY]))
        )
        statistics.split_names = examples.split_names
        statistics.span = examples.span
        with self._make_beam_pipeline() as pipeline:
            for split in artifact_utils.decode_split_names(examples.split_names):
                source = tfxio_utils.get_split_tfxio([examples], split, telemetry_descriptors=['StatisticsGen'])
                folder = artifact_utils.get_split_uri([statistics], split)
                (
                    pipeline
                    | f'Read-{split}' >> source.BeamSource()
                    | f'Generate-{split}' >> tfdv.GenerateStatistics(options(schema))
                    | f'Write-{split}'
                    >> tfdv.WriteStatisticsToBinaryFile(f'{folder}/{statistics_gen.DEFAULT_FILE_NAME}')
                )


def options(schema: Any) -> tfdv.StatsOptions:
    """What TFDV is asked for.

    Args:
        schema: a Schema proto.
    """
    return tfdv.StatsOptions(schema=schema, generators=[ImageStatsGenerator()])


class FaceStatistics(StatisticsGen):
    """TFX's StatisticsGen with this executor."""

    EXECUTOR_SPEC = BeamExecutorSpec(Executor)
