"""TFX's Transform with the preprocessing graph of one dataset."""

from tfx.components.transform.component import Transform
from tfx.types import BaseChannel

from components import faces
from components.settings import TrainSettings, to_json
from components.source import fingerprint


def transform(task: str, examples: BaseChannel, schema: BaseChannel, settings: TrainSettings) -> Transform:
    """Transform, not materialised: training decodes the PNGs itself, which is cheaper than to store them as floats.

    Args:
        task: `expression` or `keypoints`.
        examples, schema: channels of the steps before it.
        settings: gives the size of the network's input.
    """
    if task not in (faces.EXPRESSION_MODEL, faces.KEYPOINT_MODEL):
        raise ValueError(task)
    # Of the settings only what the graph depends on, so that a longer training leaves Transform cached.
    relevant = TrainSettings(image_size=settings.image_size)
    return Transform(
        examples=examples,
        schema=schema,
        preprocessing_fn=f'components.transform.preprocessing.{task}',
        materialize=False,
        disable_statistics=True,
        disable_analyzer_cache=True,
        custom_config={'settings': to_json(relevant), 'code': fingerprint('transform')},
    )
