"""The requests with which TensorFlow Serving warms a model up before it answers people.

See https://www.tensorflow.org/tfx/serving/saved_model_warmup.
"""

from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from components import faces


def write_warmup(path: Path, model: str, image: bytes) -> None:
    """Writes requests of one image and of a small batch to a TFRecord file."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for rows in (1, 8):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model
            request.model_spec.signature_name = faces.SERVING_SIGNATURE
            request.inputs[faces.SERVING_INPUT].CopyFrom(tf.make_tensor_proto([image] * rows))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
