"""A MariaDB server for tests, without root or service: the machine's own, or Debian's packages unpacked in a cache."""

import contextlib
import datetime
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import filelock
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ADDRESS, OTHER_ADDRESS = '127.0.0.1', '127.0.0.2'
"""Where the server listens. Its certificate names the first one only."""

RIGHTS = 'SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX'
"""What docs/metadata.md says that an account needs."""

# With the libraries that Debian's minimal installation lacks. mariadb-server brings the plugins.
PACKAGES = ('mariadb-server-core', 'mariadb-server', 'libaio1', 'liburing2', 'libnuma1')
SYSTEM_TABLES = ('mysql_system_tables.sql', 'mysql_performance_tables.sql', 'mysql_system_tables_data.sql')


@dataclass
class Server:
    """One server with its data.

    Attributes:
        folder: of the data and certificates.
        installation: where `usr/sbin/mariadbd` is.
        port: on which it listens, also after it was started again.
    """

    folder: Path
    installation: Path
    port: int
    _process: subprocess.Popen | None = field(default=None, repr=False)

    @property
    def authority(self) -> Path:
        """The file of the authority that signed the server's certificate."""
        return self.folder / 'ca.pem'

    def start(self, *options: str) -> None:
        """Starts it, and returns when it answers."""
        tls = [
            f'--ssl-ca={self.authority}',
            f'--ssl-cert={self.folder}/server.pem',
            f'--ssl-key={self.folder}/server.key',
        ]
        with (self.folder / 'server.log').open('ab') as log:
            self._process = subprocess.Popen(
                [
                    # Ends with the tests, however they end.
                    *(['setpriv', '--pdeathsig', 'KILL'] if shutil.which('setpriv') else []),
                    *_command(self.installation, self.folder),
                    *(f'--port={self.port}', f'--bind-address={ADDRESS},{OTHER_ADDRESS}', '--socket=socket'),
                    *([] if '--skip-ssl' in options else tls),
                    *options,
                ],
                env=_environment(self.installation),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection((ADDRESS, self.port), 1):
                return
            assert self._process.poll() is None, (self.folder / 'server.log').read_text()[-2000:]
            time.sleep(0.1)
        raise AssertionError('MariaDB does not answer.')

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        """Ends it, by default as a power failure would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal_number)
            self._process.wait(30)
            self._process = None

    def execute(self, *statements: str) -> tuple:
        """The rows of the last statement."""
        import pymysql

        with contextlib.closing(pymysql.connect(host=ADDRESS, port=self.port, user='root', autocommit=True)) as client:
            cursor = client.cursor()
            for statement in statements:
                cursor.execute(statement)
            return tuple(cursor.fetchall())

    def create(self, database: str, user: str, password: str, rights: str = RIGHTS) -> None:
        """An empty database, and an account that may use it."""
        self.execute(
            f'CREATE DATABASE {database}',
            f"CREATE OR REPLACE USER {user} IDENTIFIED VIA mysql_native_password USING PASSWORD('{password}')",
            f'GRANT {rights} ON {database}.* TO {user}',
        )

    def certify(self, days: int = 1) -> None:
        """A new certificate, which a running server takes up with FLUSH SSL."""
        _certify(self.folder, days)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server on an empty data folder; skips the test where there is none to be had."""
    pytest.importorskip('pymysql', reason='the extra `mysql` is not installed: no test of ML Metadata on MySQL')
    server = Server(folder, _installation(), _free_port())
    server.certify()
    _bootstrap(server)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def write_authority(path: Path) -> tuple[x509.Name, ec.EllipticCurvePrivateKey]:
    """A certificate authority of its own; returns its name and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, path.stem)])
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    path.write_bytes(_signed(name, name, key, key, 1, constraints))
    return name, key


def _certify(folder: Path, days: int) -> None:
    issuer, authority_key = write_authority(folder / 'ca.pem')
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'server')])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ADDRESS))])
    (folder / 'server.pem').write_bytes(_signed(subject, issuer, key, authority_key, days, names))
    (folder / 'server.key').write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    days: int,
    extension: x509.ExtensionType,
) -> bytes:
    """A certificate that began nine days ago."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(extension, critical=False)
    )
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _bootstrap(server: Server) -> None:
    """The server's own tables."""
    share = server.installation / 'usr/share/mysql'
    statements = ['CREATE DATABASE mysql;', 'USE mysql;', *((share / name).read_text() for name in SYSTEM_TABLES)]
    (server.folder / 'data').mkdir()
    made = subprocess.run(
        [*_command(server.installation, server.folder), '--bootstrap'],
        input='\n'.join(statements),
        env=_environment(server.installation),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert made.returncode == 0, made.stderr[-2000:]


def _command(installation: Path, folder: Path) -> list[str]:
    share = installation / 'usr/share/mysql'
    return [
        str(installation / 'usr/sbin/mariadbd'),
        '--no-defaults',
        *(['--user=root'] if os.geteuid() == 0 else []),
        f'--datadir={folder}/data',
        f'--lc-messages-dir={share}',
        f'--character-sets-dir={share}/charsets',
        f'--plugin-dir={installation}/usr/lib/mysql/plugin',
        '--innodb-buffer-pool-size=32M',
        '--innodb-log-file-size=8M',
    ]


def _environment(installation: Path) -> dict[str, str]:
    libraries = [str(path) for path in (installation / 'usr/lib').glob('*-linux-gnu')]
    return os.environ if installation == Path('/') else {**os.environ, 'LD_LIBRARY_PATH': ':'.join(libraries)}


def _installation() -> Path:
    """The root folder under which the server lies as Debian lays it."""
    if Path('/usr/sbin/mariadbd').exists() and Path('/usr/share/mysql', SYSTEM_TABLES[0]).exists():
        return Path('/')
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'emotion-pipeline'
    found = cache / 'mariadb'
    cache.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(cache / 'mariadb.lock'):
        if not found.exists():
            _unpack(found)
    return found


def _unpack(target: Path) -> None:
    """Fetches Debian's packages and takes them apart; whole or not at all."""
    staged = target.with_name(f'.{target.name}')
    shutil.rmtree(staged, ignore_errors=True)
    packages = staged / 'packages'
    packages.mkdir(parents=True)
    if not shutil.which('apt-get') or not (_download(packages, []) or _download(packages, _own_lists(staged))):
        pytest.skip('no MariaDB server: none is installed, and its Debian packages cannot be fetched with apt-get')
    for package in packages.glob('*.deb'):
        subprocess.run(['dpkg', '-x', package, staged], check=True, capture_output=True)
    shutil.rmtree(packages)
    staged.rename(target)


def _download(folder: Path, options: list[str]) -> bool:
    command = ['apt-get', *options, '-o', 'APT::Sandbox::User=', 'download', *PACKAGES]
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=300).returncode == 0


def _own_lists(folder: Path) -> list[str]:
    """Options by which apt-get keeps lists of packages there, where the machine has none; they need no root."""
    state = folder / 'apt'
    for name in ('lists/partial', 'cache/archives/partial'):
        (state / name).mkdir(parents=True)
    options = ['-o', f'Dir::State={state}', '-o', f'Dir::Cache={state}/cache', '-o', 'APT::Sandbox::User=']
    subprocess.run(['apt-get', *options, 'update'], capture_output=True, timeout=300)
    return options


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return probe.getsockname()[1]
