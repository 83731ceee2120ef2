"""Looks at the database of ML Metadata before a run, and says in words what is wrong with it.

ML Metadata itself has one sentence for every fault: `mysql_real_connect failed: errno: , error: `.
"""

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

from ml_metadata import MetadataStore
from ml_metadata.errors import StatusError

from components.errors import StepError
from components.metadata import PASSWORD, USER, Credentials, MetadataSettings, connection_config, credentials, server

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

TIMEOUT: Final = 10
"""Seconds until a server that does not answer is given up."""

_SET_UP: Final = 'emotion-pipeline sets up ML Metadata'
_PATIENCE: Final = 60

# The numbers of MySQL's errors (`pymysql.constants.ER` and `CR`).
_UNKNOWN_DATABASE, _NO_RIGHT_TO_DATABASE, _NO_RIGHT_TO_TABLE = 1049, 1044, 1142
_REFUSED_USER: Final = (1045, 1698)
_NO_TLS, _NO_PLUGIN, _GONE, _LOST = 2026, 2059, 2006, 2013

# OpenSSL's, of a certificate for another name or address, and of one whose time is over.
_OTHER_NAME: Final = (62, 64)
_EXPIRED: Final = 10

_UNSUPPORTED: Final = (
    'caching_sha2_password',
    'sha256_password',
    'client_ed25519',
    'dialog',
    'mysql_clear_password',
    'auth_gssapi_client',
)
"""Ways to authenticate that the client within ML Metadata has not."""

_PROBES: Final = {
    'SELECT': 'SELECT 1 FROM emotion_pipeline_absent',
    'INSERT': 'INSERT INTO emotion_pipeline_absent SELECT 1 FROM DUAL WHERE 1 = 0',
    'UPDATE': 'UPDATE emotion_pipeline_absent SET id = 1 WHERE 1 = 0',
    'DELETE': 'DELETE FROM emotion_pipeline_absent WHERE 1 = 0',
    'CREATE': 'CREATE TABLE emotion_pipeline_absent LIKE emotion_pipeline_absent_too',
    'ALTER': 'ALTER TABLE emotion_pipeline_absent ADD id INT',
    'INDEX': 'CREATE INDEX id ON emotion_pipeline_absent (id)',
}
"""Statements by the right that they need, without effect: the server looks at the right before it misses the table."""


class _UnsupportedPluginError(Exception):
    """The account authenticates in a way that ML Metadata's client has not."""


def prepare(store: str) -> None:
    """Makes sure that ML Metadata can use its store, and sets up an empty database; a file needs nothing.

    Raises:
        StepError: it cannot.
    """
    database = server(store)
    if database is None:
        return
    with _connected(database) as client, client.cursor() as cursor:
        _check_rights(cursor, database)
        # Several first connections to an empty database get into each other's way.
        with _alone(cursor, database):
            _open(store, database)


def fault(store: str) -> str:
    """What keeps ML Metadata from its store, in one line; an empty text where nothing does, and for a file."""
    database = server(store)
    try:
        if database is not None:
            with _connected(database):
                pass
    except StepError as error:
        return str(error)
    return ''


def interruption(store: str, error: Exception) -> str:
    """The line for a run that lost its database; an empty text where `error` is about something else."""
    database = server(store)
    is_ours = isinstance(error, StatusError) or (isinstance(error, RuntimeError) and 'mysql' in str(error))
    if database is None or not is_ours:
        return ''
    if cause := fault(store):
        return f'The run lost its database. {cause} When it answers, run it again to go on from here.'
    said = next(iter(str(error).splitlines()), '')
    return f'The run lost its database, which answers again: run it again to go on from here. ML Metadata said: {said}'


@contextmanager
def _connected(database: MetadataSettings) -> Iterator['Connection']:
    """A connection such as ML Metadata will make; whatever goes wrong with it is told in words."""
    known = credentials()
    trust = _trust(database)
    try:
        with closing(_attempt(database, known, {'ssl': trust} if trust else {'ssl_disabled': True})) as client:
            yield client
    except StepError:
        raise
    except Exception as error:  # what listens there may be no MySQL at all, and end in any kind of error
        raise StepError(f"ML Metadata's database {database.address}: {_told(error, database, known)}") from error


def _attempt(database: MetadataSettings, known: Credentials, security: dict[str, Any]) -> 'Connection':
    return _client().connect(
        host=database.host,
        port=database.port,
        database=database.database,
        user=known.user,
        # As ML Metadata sends it; PyMySQL would write it in Latin-1.
        password=known.password.encode(),
        connect_timeout=TIMEOUT,
        read_timeout=TIMEOUT,
        write_timeout=TIMEOUT,
        autocommit=True,
        auth_plugin_map=dict.fromkeys(_UNSUPPORTED, _Refusal),
        **security,
    )


def _client() -> Any:
    try:
        import pymysql
    except ModuleNotFoundError as error:
        raise StepError(
            "metadata.host needs the package PyMySQL: in the project's folder, uv pip install '.[mysql]' installs it."
        ) from error
    return pymysql


class _Refusal:
    """In the place of a plugin that would authenticate."""

    def __init__(self, client: 'Connection'):
        self._client = client

    def authenticate(self, packet: Any) -> None:
        raise _UnsupportedPluginError


def _trust(database: MetadataSettings) -> ssl.SSLContext | None:
    """What a certificate is held against; None for a connection without TLS."""
    if not database.certificates:
        return None
    try:
        return ssl.create_default_context(cafile=database.certificates)
    except (OSError, ValueError) as error:
        # ssl.SSLError is an OSError too, whose strerror is a word of OpenSSL.
        reason = 'no certificate in PEM form' if isinstance(error, ssl.SSLError) else getattr(error, 'strerror', error)
        raise StepError(f'The certificate authority {database.certificates} cannot be read: {reason}.') from error


def _told(error: Exception, database: MetadataSettings, known: Credentials) -> str:
    """What is wrong, and what to do."""
    if isinstance(error, _UnsupportedPluginError):
        return (
            f"user {known.user} authenticates in a way that ML Metadata's client has not: give the account "
            'mysql_native_password (see docs/metadata.md).'
        )
    cause = getattr(error, 'original_exception', None)
    if isinstance(cause, OSError):
        return _network(cause, database)
    number = error.args[0] if error.args else None
    if number in _REFUSED_USER:
        return _refusal(database, known)
    if number == _NO_TLS:
        return 'the server offers no TLS, but metadata.ca asks for it: give the server a certificate, or leave ca out.'
    if number == _UNKNOWN_DATABASE:
        return f'there is no such database: CREATE DATABASE {database.database}, or name another as metadata.database.'
    if number == _NO_RIGHT_TO_DATABASE:
        return (
            f'it does not exist, or user {known.user} may not use it: create it, and grant '
            f'{", ".join(_PROBES)} on {database.database}.*'
        )
    if number in (_GONE, _LOST):
        return f'what listens there gave no answer within {TIMEOUT} s or broke off: is it MySQL, and is it well?'
    if not isinstance(number, int):
        return f'what listens there does not speak as MySQL does: is metadata.port right? ({error})'
    return f'{" ".join(map(str, error.args[1:]))} (error {number}).'


def _network(cause: OSError, database: MetadataSettings) -> str:
    if isinstance(cause, socket.gaierror):
        return 'there is no such host, or no name server that knows it: look at metadata.host.'
    if isinstance(cause, ConnectionRefusedError):
        return 'nothing listens there: is the server running, are metadata.host and metadata.port right?'
    if isinstance(cause, TimeoutError):
        return f'no answer within {TIMEOUT} s: is metadata.host right, does a firewall let metadata.port pass?'
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code in _OTHER_NAME:
            return f"the server's certificate does not name {database.host} (metadata.host): give it one that does."
        if cause.verify_code == _EXPIRED:
            return "the server's certificate has expired: give it a new one."
        return f"the server's certificate is not from the authority in {database.certificates}: {cause.verify_message}."
    return f'the connection failed: {cause.strerror or cause}.'


def _refusal(database: MetadataSettings, known: Credentials) -> str:
    """Whether a user was refused for want of TLS: the server's words are the same as for a wrong password."""
    if not database.certificates:
        try:
            # Without a certificate authority, PyMySQL takes TLS from whoever offers it.
            _attempt(database, known, {}).close()
        except Exception:  # noqa: S110 -- then it was not that
            pass
        else:
            return f'user {known.user} is let in over TLS alone: name the certificate authority as metadata.ca.'
    return (
        f'user {known.user} is refused: the password in {PASSWORD} is wrong, or no such user ({USER}) may come from '
        'this machine.'
    )


def _check_rights(cursor: 'Cursor', database: MetadataSettings) -> None:
    missing = [right for right, statement in _PROBES.items() if _is_denied(cursor, right, statement)]
    if missing:
        raise StepError(
            f"ML Metadata's database {database.address}: user {credentials().user} lacks the right to "
            f'{", ".join(missing)}: GRANT {", ".join(_PROBES)} ON {database.database}.* to the account.'
        )


def _is_denied(cursor: 'Cursor', right: str, statement: str) -> bool:
    try:
        cursor.execute(statement)
    except _client().MySQLError as error:
        return error.args[0] == _NO_RIGHT_TO_TABLE and error.args[1].startswith(right)
    return False


@contextmanager
def _alone(cursor: 'Cursor', database: MetadataSettings) -> Iterator[None]:
    """Holds the server's lock; it lets go when the client goes, however that ends."""
    for _ in range(_PATIENCE // (TIMEOUT // 2)):
        cursor.execute('SELECT GET_LOCK(%s, %s)', (_SET_UP, TIMEOUT // 2))
        if cursor.fetchone() == (1,):
            break
    else:
        raise StepError(f"ML Metadata's database {database.address}: another run has set it up for {_PATIENCE} s.")
    try:
        yield
    finally:
        cursor.execute('SELECT RELEASE_LOCK(%s)', (_SET_UP,))


def _open(store: str, database: MetadataSettings) -> None:
    """ML Metadata's first connection, which makes its tables."""
    try:
        MetadataStore(connection_config(store))
    except (RuntimeError, StatusError) as error:
        message = str(error).splitlines()[0]
        if 'no schema_version' in message:
            message = 'it was left half made, and holds nothing yet: drop the database, and create it anew.'
        raise StepError(f"ML Metadata's database {database.address}: {message}") from error
