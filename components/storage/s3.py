"""The objects under a prefix of an S3-compatible store, by boto3.

The endpoint, the region and the credentials come from the environment alone (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`,
`AWS_SECRET_ACCESS_KEY`, …), as boto3 reads them. Whatever goes wrong is told in one line, which holds no secret.
"""

import importlib
import os
import urllib.parse
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from components.errors import StepError
from components.storage.uris import SCHEME, parts

INSTALL: Final = "the extra emotion-pipeline[s3] is not installed: in the project's folder, uv pip install '.[s3]'"

_CONNECT: Final = 5.0
_ATTEMPTS: Final = 3
_AT_A_TIME: Final = 8
_REMOVED_AT_ONCE: Final = 1000  # the protocol's limit

_WRONG_KEY: Final = ('InvalidAccessKeyId', 'XAdminUserNotFound', 'InvalidToken', 'ExpiredToken', 'InvalidClientTokenId')
_WRONG_SECRET: Final = ('SignatureDoesNotMatch', 'InvalidSignature')
_WRONG_REGION: Final = ('PermanentRedirect', 'AuthorizationHeaderMalformed', '301')
_TAKEN: Final = ('PreconditionFailed', 'ConditionalRequestConflict')
_MISSING: Final = ('NoSuchKey', '404')


class StorageError(StepError):
    """An object store that cannot be used."""


class ObjectFolder:
    """The objects whose keys begin with a prefix; an object is named by the rest of its key.

    Every method raises StorageError where the store cannot be used.

    Args:
        uri: `s3://bucket/prefix`.
        patience: seconds that the store may say nothing, three times.
    """

    def __init__(self, uri: str, patience: float = 30.0):
        self.uri = uri.rstrip('/')
        self.bucket, self.prefix = parts(uri)
        with self._telling('reached'):
            self._client = _client(patience)

    def list(self, part: str = '') -> list[str]:
        """The names that begin with `part`, sorted; a marker of an empty folder is none."""
        start = len(self._key(''))
        with self._telling('listed'):
            pages = self._client.get_paginator('list_objects_v2').paginate(Bucket=self.bucket, Prefix=self._key(part))
            keys = [found['Key'] for page in pages for found in page.get('Contents', ())]
        return sorted(key[start:] for key in keys if not key.endswith('/'))

    def read(self, name: str) -> bytes:
        """The content of an object.

        Raises:
            FileNotFoundError: there is none.
        """
        with self._telling('read'):
            return self._client.get_object(Bucket=self.bucket, Key=self._key(name))['Body'].read()

    def put(self, name: str, content: bytes) -> None:
        """Writes an object, whole or not at all."""
        with self._telling('written'):
            self._client.put_object(Bucket=self.bucket, Key=self._key(name), Body=content)

    def put_new(self, name: str, content: bytes) -> bool:
        """Writes an object where there is none of this name: of several who try, one succeeds.

        Returns:
            Whether it was written.
        """
        from botocore.exceptions import ClientError

        with self._telling('written'):
            try:
                self._client.put_object(Bucket=self.bucket, Key=self._key(name), Body=content, IfNoneMatch='*')
            except ClientError as error:
                if error.response['Error'].get('Code') in _TAKEN:
                    return False
                raise
        return True

    def remove(self, names: Iterable[str]) -> None:
        """Removes objects, in no order; what is not there is no error."""
        keys = [{'Key': self._key(name)} for name in names]
        for start in range(0, len(keys), _REMOVED_AT_ONCE):
            block = keys[start : start + _REMOVED_AT_ONCE]
            with self._telling('removed'):
                answer = self._client.delete_objects(Bucket=self.bucket, Delete={'Objects': block, 'Quiet': True})
            for failed in answer.get('Errors', ())[:1]:
                raise StorageError(f'{failed.get("Key")} of {self.uri} cannot be removed: {failed.get("Code")}.')

    def download(self, names: Iterable[str], folder: Path) -> None:
        """Copies objects into files of the same names below a folder."""

        def copy(name: str) -> None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._telling('read'):
                self._client.download_file(self.bucket, self._key(name), str(path))

        _each(copy, names)

    def upload(self, names: Iterable[str], folder: Path, below: str = '') -> None:
        """Copies files below a folder into objects of the same names, with `below` before each."""

        def copy(name: str) -> None:
            with self._telling('written'):
                self._client.upload_file(str(folder / name), self.bucket, self._key(below + name))

        _each(copy, names)

    def check_reading(self) -> None:
        """Raises StorageError where the names cannot be listed."""
        with self._telling('listed'):
            self._client.list_objects_v2(Bucket=self.bucket, Prefix=self._key(''), MaxKeys=1)

    def check_writing(self) -> None:
        """Raises StorageError where an object cannot be written, listed and removed."""
        self.check_reading()
        name = f'.check-{uuid.uuid4().hex}'
        self.put(name, b'')
        self.remove([name])

    def check_condition(self) -> None:
        """Likewise, and where the store lets two writers each believe that theirs is the first."""
        self.check_reading()
        name = f'.check-{uuid.uuid4().hex}'
        is_new, is_new_again = self.put_new(name, b''), self.put_new(name, b'')
        self.remove([name])
        if not is_new or is_new_again:
            raise StorageError(
                f'{self.uri}: {_endpoint()} does not heed If-None-Match, so two pushes could become one broken '
                'version: serve from another store or from a folder.'
            )

    def _key(self, name: str) -> str:
        return f'{self.prefix}/{name}' if self.prefix else name

    @contextmanager
    def _telling(self, done: str) -> Iterator[None]:
        """Turns boto3's errors into one line; `done` is what cannot be done."""
        boto, botocore = _library('boto3.exceptions'), _library('botocore.exceptions')
        try:
            yield
        except botocore.ClientError as error:
            if error.response.get('Error', {}).get('Code') in _MISSING:
                raise FileNotFoundError(2, 'There is no such object', self.uri) from error
            raise StorageError(self._refused(error.response, done)) from error
        except boto.S3UploadFailedError as error:
            cause = error.__context__
            told = self._refused(cause.response, done) if isinstance(cause, botocore.ClientError) else self._gone(error)
            raise StorageError(told) from error
        except (botocore.NoCredentialsError, botocore.PartialCredentialsError) as error:
            raise StorageError(
                f'{self.uri}: no credentials in the environment: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.'
            ) from error
        except (botocore.ConnectionError, botocore.HTTPClientError, boto.RetriesExceededError) as error:
            raise StorageError(self._gone(error)) from error
        except botocore.BotoCoreError as error:
            raise StorageError(f'{self.uri} cannot be {done}: {error}') from error
        except ValueError as error:
            # It quotes the address, which may hold a password.
            raise StorageError(f'{self.uri} cannot be {done}: AWS_ENDPOINT_URL is no http(s) address.') from error

    def _gone(self, error: BaseException) -> str:
        kind = type(error).__name__
        if 'SSL' in kind:
            why = 'its certificate is not trusted (AWS_CA_BUNDLE), or it has none (http:// in the address)'
        elif 'Timeout' in kind:
            why = 'it does not answer in time'
        else:
            why = 'there is no connection'
        return f'The object store {_endpoint()} of {self.uri} cannot be reached: {why}. See AWS_ENDPOINT_URL.'

    def _refused(self, response: dict[str, Any], done: str) -> str:
        error = response.get('Error', {})
        code = str(error.get('Code', ''))
        if code == 'NoSuchBucket':
            return f'There is no bucket {self.bucket!r} at {_endpoint()} (for {self.uri}): create it, or name another.'
        if code in _WRONG_KEY:
            return f'{self.uri}: {_endpoint()} knows no such credentials ({code}): see AWS_ACCESS_KEY_ID.'
        if code in _WRONG_SECRET:
            return f'{self.uri}: {_endpoint()} refuses the signature ({code}): see AWS_SECRET_ACCESS_KEY.'
        if code == 'RequestTimeTooSkewed':
            return f'{self.uri}: the clocks of this machine and of {_endpoint()} differ too much: set this one.'
        if code in _WRONG_REGION:
            return f'{self.uri}: the bucket lies in another region ({code}): set AWS_DEFAULT_REGION to it.'
        if code in ('AccessDenied', '403', 'AllAccessDisabled'):
            return f'{self.uri} cannot be {done} with these credentials ({code}): let them, or take others.'
        status = response.get('ResponseMetadata', {}).get('HTTPStatusCode')
        if status and status >= 500:
            return f'The object store {_endpoint()} of {self.uri} fails ({status} {code}): try again later.'
        return f'{self.uri} cannot be {done}: {code or status} {error.get("Message", "")}'.rstrip()


def endpoint() -> str:
    """The store's address in the environment; an empty text for Amazon's own."""
    return os.environ.get('AWS_ENDPOINT_URL_S3') or os.environ.get('AWS_ENDPOINT_URL') or ''


def _endpoint() -> str:
    """For people, without a user's name and password."""
    where = urllib.parse.urlsplit(endpoint())
    return f'{where.scheme}://{where.netloc.rpartition("@")[2]}' if endpoint() else 'AWS'


def _client(patience: float) -> Any:
    session = _library('boto3').session.Session()
    config = _library('botocore.config').Config(
        connect_timeout=_CONNECT,
        read_timeout=patience,
        retries={'total_max_attempts': _ATTEMPTS, 'mode': 'standard'},
        max_pool_connections=2 * _AT_A_TIME,
    )
    # A store of one's own has no regions, and boto3 does not go without.
    return session.client('s3', config=config, region_name=session.region_name or 'us-east-1')


def _library(name: str) -> Any:
    """boto3's modules; local runs go without it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise StorageError(f'{SCHEME} addresses need boto3, and {INSTALL} (for the server alone: boto3).') from error


def _each(act: Any, names: Iterable[str]) -> None:
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        list(pool.map(act, names))
