"""The trained networks as SavedModels that take encoded images."""

import json
from pathlib import Path

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components import faces
from components.inference.network import onnx_file
from components.transform.preprocessing import IMAGE_SIZE, PIXELS

NAMES_FILE = 'assets.extra/names.json'


class ExportedNetwork(tf.Module):
    """A network behind its preprocessing graph.

    Signatures: `serving_default` takes `image_bytes`, encoded images `[batch]`; `serving_examples` takes `examples`,
    serialized Examples `[batch]`. Both answer with `predict`'s outputs.
    """

    def __init__(self, core: keras.Model, transform_output: tft.TFTransformOutput):
        super().__init__()
        self.core = core
        self.preprocess = transform_output.transform_features_layer()
        self._image_specification = {faces.IMAGE: transform_output.raw_feature_spec()[faces.IMAGE]}

    task: str

    def predict(self, pixels: tf.Tensor, sizes: tf.Tensor) -> dict[str, tf.Tensor]:
        raise TypeError('use a subclass that names its outputs')

    def portable(self) -> keras.Model:
        """The network without decoding and resizing, which only TensorFlow can do.

        It takes float32 `[batch, size, size, 1]`, grey 0..255, and answers with probabilities `[batch, 5]`, or with
        points `[batch, 15, 2]` as shares of the image's width and height.
        """
        black, white = self._normalised_flat_images()
        inputs = keras.Input(self.core.input_shape[1:], name=PIXELS)
        pixels = keras.layers.Rescaling((white - black) / 255.0, black)(inputs)
        answer = self.core(pixels)
        if self.task == faces.EXPRESSION_MODEL:
            answer = keras.layers.Softmax(dtype='float32')(answer)
        return keras.Model(inputs, answer, name=self.task)

    def _normalised_flat_images(self) -> tuple[float, float]:
        """What a black and a white image become: the preprocessing is affine in the pixels, so this is all of it."""
        flat = [tf.io.encode_png(tf.fill([8, 8, 1], tf.constant(level, tf.uint8))) for level in (0, 255)]
        pixels = self.preprocess({faces.IMAGE: tf.stack(flat)})[PIXELS].numpy()
        return float(pixels[0].mean()), float(pixels[1].mean())

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=faces.SERVING_INPUT)])
    def serve_images(self, image_bytes):
        return self._answer({faces.IMAGE: image_bytes})

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name='examples')])
    def serve_examples(self, examples):
        return self._answer(tf.io.parse_example(examples, self._image_specification))

    def _answer(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        transformed = self.preprocess(features)
        return self.predict(transformed[PIXELS], transformed[IMAGE_SIZE])


class ExpressionModel(ExportedNetwork):
    """Answers with `probabilities`, float32 `[batch, 5]`, in the order of `faces.EXPRESSIONS`."""

    task = faces.EXPRESSION_MODEL

    def predict(self, pixels, sizes):
        return {faces.PROBABILITIES: tf.nn.softmax(self.core(pixels, training=False))}


class KeypointModel(ExportedNetwork):
    """Answers with `keypoints`, float32 `[batch, 15, 2]`: x and y in pixels of the image that was sent."""

    task = faces.KEYPOINT_MODEL

    def predict(self, pixels, sizes):
        return {faces.KEYPOINTS_OUTPUT: self.core(pixels, training=False) * sizes[:, None, :]}


def save(module: ExportedNetwork, folder: Path) -> None:
    """Writes the SavedModel with its signatures, and beside it its ONNX form and the names of its outputs."""
    signatures = {
        faces.SERVING_SIGNATURE: module.serve_images,
        faces.EXAMPLES_SIGNATURE: module.serve_examples,
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)
    write_names(folder)
    _write_onnx(module, onnx_file(folder, module.task))


def _write_onnx(module: ExportedNetwork, path: Path) -> None:
    """ONNX Runtime answers single images in half of TensorFlow's time, from an environment a tenth as large."""
    path.parent.mkdir(parents=True, exist_ok=True)
    network = module.portable()
    specification = keras.InputSpec(dtype='float32', shape=network.input_shape, name=PIXELS)
    network.export(str(path), format='onnx', verbose=False, input_signature=[specification])


def write_names(folder: Path) -> None:
    """What the answers' positions mean, in `assets.extra`, which TensorFlow Serving leaves alone."""
    path = folder / NAMES_FILE
    path.parent.mkdir(exist_ok=True)
    names = {'expressions': faces.EXPRESSIONS, 'keypoints': faces.KEYPOINTS}
    path.write_text(json.dumps(names, indent=1), encoding='utf-8')
