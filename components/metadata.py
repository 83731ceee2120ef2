"""Where ML Metadata keeps its store: a SQLite file, or a database of a MySQL server that pipelines and machines share.

A store is named by a text without secrets, which may stand in an execution property, a log or a report. User and
password come from the environment of the process that opens it.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, quote, urlsplit

from components.errors import StepError

if TYPE_CHECKING:
    from ml_metadata.proto import metadata_store_pb2

USER: Final = 'EMOTION_PIPELINE_METADATA_USER'
PASSWORD: Final = 'EMOTION_PIPELINE_METADATA_PASSWORD'  # noqa: S105 -- the name of the variable
CA: Final = 'EMOTION_PIPELINE_METADATA_CA'

_SCHEME: Final = 'mysql'
_HOST: Final = re.compile(r'[A-Za-z0-9_.-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+')
# ML Metadata writes the name into its statements without quotes.
_DATABASE: Final = re.compile(r'[A-Za-z_][A-Za-z0-9_]{0,63}')


@dataclass(frozen=True)
class MetadataSettings:
    """The database of ML Metadata; without a host, it is a SQLite file in the pipeline's own store.

    Attributes:
        host: of a MySQL or MariaDB server, by name or address.
        port: on which it listens.
        database: which must exist.
        ca: file of the certificate authority that signed the server's certificate, in PEM, and with it TLS; where this
            is empty, the environment variable EMOTION_PIPELINE_METADATA_CA may name it.
    """

    host: str = ''
    port: int = 3306
    database: str = 'ml_metadata'
    ca: str = ''

    def __post_init__(self):
        if self.host == 'localhost':
            raise StepError(
                'metadata.host is localhost, by which a MySQL client means a socket file: write 127.0.0.1 for a server '
                'on this machine.'
            )
        if self.host and not _HOST.fullmatch(self.host):
            # What is written there may hold a password, so it is not quoted.
            raise StepError(
                f'metadata.host is no host name or address: user and password come from {USER} and {PASSWORD}.'
            )
        if not 0 < self.port < 65536:
            raise StepError(f'metadata.port is {self.port}: a port is a number from 1 to 65535.')
        if not _DATABASE.fullmatch(self.database):
            raise StepError(
                f'metadata.database is {self.database!r}: ML Metadata takes letters, digits and _, at most 64, and no '
                'digit at the beginning.'
            )

    @property
    def address(self) -> str:
        """`mysql://host:port/database`."""
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'{_SCHEME}://{host}:{self.port}/{self.database}'

    @property
    def certificates(self) -> str:
        """The file of the certificate authority, or an empty text for a connection without TLS."""
        return self.ca or os.environ.get(CA, '')


@dataclass(frozen=True)
class Credentials:
    user: str
    password: str = field(repr=False)


def store_name(settings: MetadataSettings, folder: Path) -> str:
    """The text that names the store of a pipeline with this folder."""
    if not settings.host:
        return str(folder / 'metadata.sqlite')
    return settings.address + (f'?ca={quote(settings.ca)}' if settings.ca else '')


def server(store: str) -> MetadataSettings | None:
    """The server of a store, or None for a file."""
    parts = urlsplit(store)
    if parts.scheme != _SCHEME:
        return None
    (ca,) = parse_qs(parts.query).get('ca', [''])
    return MetadataSettings(parts.hostname or '', parts.port or 3306, parts.path.lstrip('/'), ca)


def exists(store: str) -> bool:
    """Whether a run has ever written there; a database is taken to be there, it was looked at before the run."""
    return server(store) is not None or Path(store).is_file()


def credentials() -> Credentials:
    """User and password.

    Raises:
        StepError: the environment does not hold them.
    """
    for name in (USER, PASSWORD):
        if not os.environ.get(name):
            raise StepError(
                f'{name} is not set: metadata.host needs user ({USER}) and password ({PASSWORD}) in the environment.'
            )
    return Credentials(os.environ[USER], os.environ[PASSWORD])


def connection_config(store: str) -> 'metadata_store_pb2.ConnectionConfig':
    """How ML Metadata opens a store, secrets included: it is neither kept nor printed.

    Args:
        store: as `store_name` gives it, or the path of a SQLite file.

    Raises:
        StepError: it is a database, and the environment does not hold user and password.
    """
    from ml_metadata.proto import metadata_store_pb2

    result = metadata_store_pb2.ConnectionConfig()
    database = server(store)
    if database is None:
        result.sqlite.filename_uri = store
        # TFX writes meanwhile, in this very process or another.
        result.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        return result
    known = credentials()
    result.mysql.host, result.mysql.port, result.mysql.database = database.host, database.port, database.database
    result.mysql.user, result.mysql.password = known.user, known.password
    result.mysql.skip_db_creation = True
    if database.certificates:
        # Its option verify_server_cert refuses every certificate.
        result.mysql.ssl_options.ca = database.certificates
    return result
