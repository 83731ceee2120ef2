"""Both networks behind one signature: encoded images in, points and probabilities out."""

import shutil
from pathlib import Path

import tensorflow as tf

from components import faces
from components.inference.network import onnx_file
from components.train.export import write_names


class FaceReader(tf.Module):
    """Asks both SavedModels about the same images.

    Its signature `serving_default` takes `image_bytes`, encoded images `[batch]`, and answers with `keypoints` (float32
    `[batch, 15, 2]`, x and y in pixels of the image that was sent), `keypoint_names` (`[batch, 15]`), `probabilities`
    (float32 `[batch, 5]`) and `expressions` (their names, `[batch, 5]`).
    """

    def __init__(self, expression: Path, keypoints: Path):
        super().__init__()
        self.expression = tf.saved_model.load(str(expression))
        self.keypoints = tf.saved_model.load(str(keypoints))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=faces.SERVING_INPUT)])
    def serve(self, image_bytes):
        rows = tf.shape(image_bytes)[:1]
        question = {faces.SERVING_INPUT: image_bytes}
        return {
            **self.expression.signatures[faces.SERVING_SIGNATURE](**question),
            **self.keypoints.signatures[faces.SERVING_SIGNATURE](**question),
            faces.EXPRESSION_NAMES: tf.tile([faces.EXPRESSIONS], tf.concat([rows, [1]], 0)),
            faces.KEYPOINT_NAMES: tf.tile([faces.KEYPOINTS], tf.concat([rows, [1]], 0)),
        }


def join(expression: Path, keypoints: Path, folder: Path) -> None:
    """Writes the joint SavedModel of two SavedModels, and the ONNX forms of both networks beside it.

    A part without one, which an older version of this pipeline pushed, leaves it out; ServingCheck refuses that.
    """
    module = FaceReader(expression, keypoints)
    tf.saved_model.save(module, str(folder), signatures={faces.SERVING_SIGNATURE: module.serve})
    write_names(folder)
    for task, part in ((faces.EXPRESSION_MODEL, expression), (faces.KEYPOINT_MODEL, keypoints)):
        copy = onnx_file(folder, task)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if onnx_file(part, task).exists():
            shutil.copyfile(onnx_file(part, task), copy)
