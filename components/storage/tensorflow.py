"""Lets TensorFlow, and with it TFX, read and write `s3://`."""

import importlib
import os

from components.storage.s3 import INSTALL, StorageError, endpoint
from components.storage.uris import is_stored


def enable(*places: object) -> None:
    """Registers TensorFlow's file system for `s3://` in this process; does nothing where no place needs it.

    It is to be called in every process in which TensorFlow itself opens such a place, before it does. TensorFlow takes
    the endpoint from a variable of its own, which is set from boto3's here, so that a user sets one.

    Args:
        *places: paths and URIs that will be opened.

    Raises:
        StorageError: tensorflow-io is not installed.
    """
    if not any(map(is_stored, places)):
        return
    if endpoint():
        os.environ['S3_ENDPOINT'] = endpoint()  # with its scheme
    region = os.environ.get('AWS_REGION') or os.environ.get('AWS_DEFAULT_REGION') or 'us-east-1'
    os.environ.setdefault('AWS_REGION', region)
    try:
        importlib.import_module('tensorflow_io')
    except ModuleNotFoundError as error:
        raise StorageError(f's3:// addresses need tensorflow-io, and {INSTALL}.') from error
