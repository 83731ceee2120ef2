"""The way to a server of Kubeflow Pipelines: where it is, who asks, and one line for whatever goes wrong.

`kfp.Client` speaks to the server. Four habits of it are changed here: it waits for ever for an answer, tries a silent
server for 25 seconds, writes a file into the user's home, and takes a login page for an answer without any content.
"""

import contextlib
import io
import json
import logging
import os
import re
import ssl
import string
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import kfp
import kfp_server_api
import urllib3
from kfp_server_api import rest

from components.errors import StepError

TOKEN_VARIABLE: Final = 'EMOTION_PIPELINE_KUBEFLOW_TOKEN'  # noqa: S105 - the name of a variable

_CONNECT_SECONDS, _ANSWER_SECONDS = 5, 60
_MOST_PAGES: Final = 200
_PAGE: Final = 100
_LARGEST_TOKEN: Final = 64 * 1024
_LONGEST_MESSAGE: Final = 400
_HOW_TO_LOG_IN: Final = f'Give a token in {TOKEN_VARIABLE} or with --token-file.'
_URLLIB3_OBJECT: Final = re.compile(r"^\w+\(host='[^']*', port=\w+\): ")
_UNAUTHENTICATED, _DENIED = 16, 7  # of google.rpc.Code


class ServerError(StepError):
    """The server refused, failed or could not be reached.

    Attributes:
        status: HTTP's status of the answer; 0 when there was none.
    """

    def __init__(self, message: str, status: int = 0):
        super().__init__(message)
        self.status = status

    @property
    def is_passing(self) -> bool:
        """Whether asking again later can help."""
        return self.status == 0 or self.status >= 500


@dataclass(frozen=True)
class Connection:
    """Where the server is and who asks.

    Attributes:
        host: address of Kubeflow Pipelines; by way of kubeconfig, or of the pod's own cluster, when empty.
        namespace: of the user, where the installation keeps users apart.
        token: bearer token; never shown.
        ca_file: certificates to trust instead of the public ones.
        verify: whether the server's certificate is checked.
        kubeconfig: file; the usual one when empty.
        context: of kubeconfig; the current one when empty.
        service_namespace: where Kubeflow Pipelines itself is installed, for the way by kubeconfig.
        dashboard: address of its pages; the host when empty.
    """

    host: str = ''
    namespace: str = ''
    token: str = field(default='', repr=False)
    ca_file: str = ''
    verify: bool = True
    kubeconfig: str = ''
    context: str = ''
    service_namespace: str = 'kubeflow'
    dashboard: str = ''


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Attributes:
        client: speaks to it.
        namespace: in which everything is created and looked up; empty where there is only one.
        dashboard: address of its pages; empty when it is not known.
    """

    client: kfp.Client
    namespace: str
    dashboard: str

    def run_url(self, run_id: str) -> str:
        """The run's page."""
        return f'{self.dashboard or "<dashboard>"}/#/runs/details/{run_id}'


def connect(connection: Connection) -> Server:
    """Finds the server and asks how it is.

    Raises:
        StepError: the settings contradict each other, there is no server, or it wants a login or a namespace.
    """
    if connection.host and (connection.kubeconfig or connection.context):
        raise StepError(
            f'Both a host ({connection.host}) and a kubeconfig are named: leave out --host and KF_PIPELINES_ENDPOINT, '
            'or --kubeconfig and --context.'
        )
    if connection.ca_file:
        _check_certificates(connection.ca_file)
    # It warns of each attempt, in a second line before the one that says what is wrong.
    logging.getLogger('urllib3.connectionpool').setLevel(logging.ERROR)
    client = _Client(connection)
    namespace = client.get_user_namespace()
    if client.get_kfp_healthz().multi_user and not namespace:
        raise StepError(
            f'{client.address} keeps its users apart: name your namespace with --namespace or '
            'EMOTION_PIPELINE_KUBEFLOW_NAMESPACE.'
        )
    return Server(client, namespace, connection.dashboard.rstrip('/') or _plain_address(connection.host))


def read_token(path: Path) -> str:
    """A bearer token from a file.

    Raises:
        StepError: there is no such file, or it holds no token.
    """
    try:
        with path.open('rb') as file:
            content = file.read(_LARGEST_TOKEN + 1)
    except OSError as error:
        raise StepError(
            f'{path} cannot be read: {error.strerror}. Name the file of the token with --token-file.'
        ) from error
    return checked_token(content.decode('ascii', errors='replace').strip(), str(path))


def checked_token(token: str, where: str) -> str:
    """The token, if it can be sent as a header.

    Raises:
        StepError: it is empty, too long, or holds more than printable ASCII characters.
    """
    if (
        not token
        or len(token) > _LARGEST_TOKEN
        or not set(token) <= set(string.ascii_letters + string.digits + '-._~+/=')
    ):
        raise StepError(f'{where} holds no bearer token: it is one word of letters, digits and -._~+/=.')
    return token


Listed = TypeVar('Listed')


def every(ask: Callable[..., Any], found: Callable[[Any], list[Listed] | None]) -> Iterator[Listed]:
    """What a listing of `kfp.Client` finds, page after page, up to 20000 entries.

    Args:
        ask: takes `page_token` and `page_size`.
        found: the entries of a page.
    """
    token = ''
    for _ in range(_MOST_PAGES):
        page = ask(page_token=token, page_size=_PAGE)
        yield from found(page) or []
        token = page.next_page_token
        if not token:
            return


def named(name: str) -> str:
    """A filter for `kfp.Client`. Whether it tells capitals apart depends on the server's database: compare again."""
    # 1 is EQUALS; the server takes the number as well as the word.
    return json.dumps({'predicates': [{'operation': 1, 'key': 'display_name', 'stringValue': name}]})


def silent() -> contextlib.AbstractContextManager[Any]:
    """`kfp.Client` prints links."""
    return contextlib.redirect_stdout(io.StringIO())


class _Client(kfp.Client):
    """`kfp.Client` that fails soon, and leaves the user's home as it is."""

    def __init__(self, connection: Connection):
        self._connection = connection
        with warnings.catch_warnings():
            # That it is no client for version 1.
            warnings.simplefilter('ignore')
            super().__init__(
                host=_plain_address(connection.host) or None,
                existing_token=connection.token or None,
                ssl_ca_cert=connection.ca_file or None,
                kube_context=connection.context or None,
                verify_ssl=connection.verify,
            )
        self._mend()

    @property
    def address(self) -> str:
        return self._existing_config.host

    def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
        """Asks once; the original asks five times and logs a stack trace each time."""
        self._mend()
        return self._healthz_api.healthz_service_get_healthz()

    def set_user_namespace(self, namespace: str) -> None:
        """Remembers it; the original writes it to a file, too."""
        self._context_setting['namespace'] = namespace

    def _load_context_setting_or_default(self) -> None:
        try:
            super()._load_context_setting_or_default()
            kept = self._context_setting.get('namespace', '')
        except (OSError, ValueError, AttributeError) as error:
            raise StepError(
                f"{self._LOCAL_KFP_CONTEXT}, kfp's own context, cannot be read: {error}. Delete it."
            ) from error
        self.set_user_namespace(self._connection.namespace or kept)

    def _load_config(self, host: str | None, client_id: str | None, namespace: str, *others: Any) -> Any:
        connection = self._connection
        if host or (_is_in_cluster() and not (connection.kubeconfig or connection.context)):
            # With a token and no host, the original asks localhost.
            if not host and connection.token:
                host = f'http://{self._IN_CLUSTER_DNS_NAME.format(connection.service_namespace)}'
            configuration = super()._load_config(host, client_id, connection.service_namespace, *others)
        else:
            configuration = _from_kubeconfig(connection)
        # A redirect is a login page more often than not; following one would send the request elsewhere.
        configuration.retries = urllib3.Retry(
            total=None, connect=1, read=0, redirect=0, status=0, other=0, raise_on_redirect=False
        )
        return configuration

    def _mend(self) -> None:
        api_client = self._healthz_api.api_client
        if not isinstance(api_client.rest_client, _RestClient):
            api_client.rest_client = _RestClient(self._existing_config, self.get_user_namespace)


class _RestClient(rest.RESTClientObject):
    """Sends requests: bounded in time, and every error in one line."""

    def __init__(self, configuration: Any, namespace: Callable[[], str]):
        super().__init__(configuration)
        self._address = configuration.host
        self._namespace = namespace

    def request(self, method: str, url: str, *arguments: Any, **options: Any) -> Any:
        what = f'{method} {urlsplit(url).path}'
        options['_request_timeout'] = options.get('_request_timeout') or (_CONNECT_SECONDS, _ANSWER_SECONDS)
        try:
            with warnings.catch_warnings():
                # That --insecure is insecure, and that urllib3's getheaders() is deprecated.
                warnings.simplefilter('ignore')
                reply = super().request(method, url, *arguments, **options)
        except kfp_server_api.ApiException as error:
            raise self._refusal(what, error) from None
        except urllib3.exceptions.HTTPError as error:
            raise ServerError(self._unreachable(error)) from None
        if not isinstance(_parsed(reply.data), dict):
            raise ServerError(
                f'{self._address} answers {what} with a page instead of JSON: an auth proxy or another web server is '
                f'there. {_HOW_TO_LOG_IN} Kubeflow Pipelines itself is often under /pipeline of the dashboard.',
                reply.status,
            )
        return reply

    def _refusal(self, what: str, error: kfp_server_api.ApiException) -> ServerError:
        answer = _parsed(error.body)
        details = answer if isinstance(answer, dict) else {}
        said = details.get('message') or details.get('error_message') or details.get('error') or error.reason or ''
        said = ' '.join(str(said).split())[:_LONGEST_MESSAGE].rstrip('.')
        return ServerError(self._explained(what, error, details.get('code'), said), error.status or 0)

    def _explained(self, what: str, error: kfp_server_api.ApiException, code: Any, said: str) -> str:
        status, address = error.status or 0, self._address
        if 300 <= status < 400:
            to = (error.headers or {}).get('location', 'nowhere')
            return (
                f'{address} sends {what} on to {to}: that is a login page or another address. {_HOW_TO_LOG_IN} '
                'Or name that address with --host.'
            )
        if status == 401 or code == _UNAUTHENTICATED:
            return f'{address} does not know who asks (401): {said}. {_HOW_TO_LOG_IN}'
        if status == 403 or code == _DENIED:
            namespace = self._namespace()
            where = f'in namespace {namespace}' if namespace else 'without a namespace'
            return (
                f'{address} gives no right to {what} {where} (403): {said}. Name another with --namespace, or ask for '
                'the role kubeflow-edit there.'
            )
        if status == 404:
            return (
                f'{address} does not know {what} (404): {said}. Check the id, --namespace, and --host, which often '
                'ends in /pipeline.'
            )
        if status >= 500:
            return (
                f'{address} failed at {what} ({status}): {said}. Try again; the log of the deployment ml-pipeline '
                'says more.'
            )
        return f'{address} refuses {what} ({status}): {said}.'

    def _unreachable(self, error: urllib3.exceptions.HTTPError) -> str:
        reason = getattr(error, 'reason', None) or error
        if 'WRONG_VERSION_NUMBER' in str(reason):
            return f'{self._address} speaks no TLS: write its address as http://… with --host.'
        if isinstance(reason, urllib3.exceptions.SSLError) or 'CERTIFICATE' in str(reason):
            return (
                f'{self._address} cannot be trusted: {_last(reason)}. Name the certificates of its authority with '
                '--ca-file; --insecure trusts anybody.'
            )
        if isinstance(reason, urllib3.exceptions.ReadTimeoutError):
            return f'{self._address} does not answer within {_ANSWER_SECONDS} seconds. Try again later.'
        return (
            f'There is no server at {self._address}: {_last(reason)}. Check --host, and that the port is forwarded: '
            'kubectl port-forward -n kubeflow svc/ml-pipeline 8888.'
        )


def _parsed(body: Any) -> Any:
    try:
        return json.loads(body or '')
    except ValueError:
        return None


def _last(reason: object) -> str:
    """urllib3 puts its object before what went wrong."""
    return ' '.join(_URLLIB3_OBJECT.sub('', str(reason)).split())[:_LONGEST_MESSAGE]


def _plain_address(host: str) -> str:
    """The address without a slash at its end; https where it names no scheme.

    Raises:
        StepError: it is no address of a web server.
    """
    if not host:
        return ''
    address = host.rstrip('/') if '://' in host else f'https://{host.rstrip("/")}'
    try:
        parts = urlsplit(address)
        valid = parts.scheme in ('http', 'https') and parts.hostname and (parts.port or True)
    except ValueError:
        valid = False
    if not valid or parts.username or parts.query or parts.fragment or not address.isprintable() or ' ' in address:
        raise StepError(f'--host {host!r} is no address: write it as https://kubeflow.example/pipeline.')
    return address


def _check_certificates(path: str) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        what = 'holds no certificate' if isinstance(error, ssl.SSLError) else error.strerror
        raise StepError(f'--ca-file {path}: {what}. Name a file with certificates in PEM.') from error


def _is_in_cluster() -> bool:
    return 'KUBERNETES_SERVICE_HOST' in os.environ


def _from_kubeconfig(connection: Connection) -> kfp_server_api.Configuration:
    """By way of the Kubernetes API server, which passes requests on to the service. `kfp.Client` hides why it fails."""
    import kubernetes
    import yaml

    cluster = kfp_server_api.Configuration()
    try:
        kubernetes.config.load_kube_config(
            config_file=connection.kubeconfig or None,
            context=connection.context or None,
            client_configuration=cluster,
        )
    except (kubernetes.config.ConfigException, OSError, yaml.YAMLError, ValueError, TypeError) as error:
        raise StepError(
            f'No server is named: give --host or KF_PIPELINES_ENDPOINT. Kubeconfig does not help: {error}'
        ) from error
    proxy = f'api/v1/namespaces/{connection.service_namespace}/services/ml-pipeline:http/proxy'
    configuration = kfp_server_api.Configuration()
    configuration.host = f'{cluster.host.rstrip("/")}/{proxy}'
    configuration.ssl_ca_cert = connection.ca_file or cluster.ssl_ca_cert
    configuration.cert_file, configuration.key_file = cluster.cert_file, cluster.key_file
    configuration.verify_ssl = cluster.verify_ssl and connection.verify
    if connection.token:
        configuration.api_key['authorization'] = f'Bearer {connection.token}'
    else:
        _take_tokens(configuration, cluster)
    return configuration


def _take_tokens(configuration: kfp_server_api.Configuration, cluster: kfp_server_api.Configuration) -> None:
    """Renews the token where kubeconfig can. Its own hook puts the cluster's address back as well."""

    def renew(_: object = None) -> None:
        if cluster.refresh_api_key_hook:
            cluster.refresh_api_key_hook(cluster)
        configuration.api_key.update(cluster.api_key)

    renew()
    configuration.refresh_api_key_hook = renew
