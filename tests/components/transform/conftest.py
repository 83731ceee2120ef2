from collections.abc import Callable

import pytest
import tensorflow as tf


def call(function: Callable, *arguments):
    return function(*map(tf.convert_to_tensor, arguments))


def call_in_data(function: Callable, *arguments):
    """As training calls it: traced, with shapes that are not known."""
    signature = tuple(
        tf.TensorSpec([None] * len(tensor.shape), tensor.dtype) for tensor in map(tf.convert_to_tensor, arguments)
    )
    dataset = tf.data.Dataset.from_generator(lambda: iter([arguments]), output_signature=signature)
    return next(iter(dataset.map(function)))


@pytest.fixture(params=[call, call_in_data], ids=['eager', 'data'])
def run(request) -> Callable:
    """Calls a function on arrays, eagerly or inside tf.data."""
    return request.param
