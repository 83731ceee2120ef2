"""TFX's Transform with the preprocessing graph of one dataset."""

import json

from tfx.components.transform.component import Transform
from tfx.types import BaseChannel

from components import faces
from components.properties import Text
from components.settings import TrainSettings, to_json
from components.source import fingerprint


def configuration(settings: TrainSettings) -> str:
    """What the preprocessing graph depends on, as JSON: a longer training leaves Transform cached.

    Args:
        settings: give the size of the network's input.
    """
    relevant = TrainSettings(image_size=settings.image_size)
    return json.dumps({'settings': to_json(relevant)})


def transform(task: str, examples: BaseChannel, schema: BaseChannel, custom_config: Text) -> Transform:
    """Transform, not materialised: training decodes the PNGs itself, which is cheaper than to store them as floats.

    Args:
        task: `expression` or `keypoints`.
        examples, schema: channels of the steps before it.
        custom_config: from `configuration`.
    """
    if task not in faces.TASKS:
        raise ValueError(task)
    step = Transform(
        examples=examples,
        schema=schema,
        preprocessing_fn=f'components.transform.preprocessing.{task}',
        materialize=False,
        disable_statistics=True,
        disable_analyzer_cache=True,
    )
    # The constructor takes a dictionary alone, and knows nothing of the code's fingerprint.
    step.exec_properties.update(custom_config=custom_config, code=fingerprint('transform'))
    return step
