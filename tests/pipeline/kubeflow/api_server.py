"""A server on loopback that answers as the REST API v2beta1 of Kubeflow Pipelines does, and keeps its state in memory.

Every body that it takes has to be one of the models of `kfp_server_api`, without a key or a type that the model lacks;
every answer is made from those models. What KFP's own server refuses, it refuses with the same words: names that exist,
cron expressions that robfig/cron 1.2.0 does not read, more than ten at a time, specifications that are no PipelineSpec.
"""

import base64
import contextlib
import datetime
import email.parser
import email.policy
import json
import re
import ssl
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import kfp_server_api as api
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

ROOT = '/apis/v2beta1'
LISTING = {'page_token', 'page_size', 'sort_by', 'filter', 'namespace'}
PRIMITIVES: dict[str, tuple[type, ...]] = {
    # A number of 64 bits may be written as text, and the other way round.
    'str': (str, int),
    'int': (int,),
    'bool': (bool,),
    'datetime': (str,),
    'object': (object,),
}
LOGIN_PAGE = b'<!doctype html><title>Log in to Your Account</title><form action="/dex/auth"></form>'


class RefusedError(Exception):
    """An answer that is an error: HTTP's status and gRPC's code with a message."""

    def __init__(self, status: int, code: int, message: str):
        super().__init__(message)
        self.status, self.code = status, code


def invalid(message: str) -> RefusedError:
    return RefusedError(400, 3, f'Invalid input error: {message}')


@dataclass
class Fault:
    """What the server does instead of answering, to requests that fit.

    Attributes:
        fits: whole text of method and path, as a regular expression.
        kind: `status` (JSON), `login` (a page), `redirect`, `slow`, `drop` (no answer), `late` (no answer, but done).
        status: for `status`.
        times: how many requests.
    """

    fits: str
    kind: str = 'status'
    status: int = 500
    message: str = 'Internal Server Error'
    times: int = 1_000_000


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


@dataclass
class State:
    """What the server knows, and how it is to behave.

    Attributes:
        rights: namespaces in which the user may do anything, in multi-user mode.
        token: that every request has to bring; none when empty.
        course: what a run goes through, one step for every look at it: its state and its tasks as
            `(name, state, error)`; it stays at the last.
    """

    multi_user: bool = False
    rights: set[str] = field(default_factory=lambda: {'team'})
    token: str = ''
    faults: list[Fault] = field(default_factory=list)
    course: list[tuple[str, list[tuple[str, str, str]]]] = field(default_factory=lambda: [('PENDING', [])])
    requests: list[Request] = field(default_factory=list)
    most_enabled: dict[str, int] = field(default_factory=dict)
    pipelines: list[Any] = field(default_factory=list)
    versions: list[Any] = field(default_factory=list)
    experiments: list[Any] = field(default_factory=list)
    runs: list[Any] = field(default_factory=list)
    recurring: list[Any] = field(default_factory=list)
    looks: dict[str, int] = field(default_factory=dict)
    clock: int = 0

    def now(self) -> datetime.datetime:
        """Times of creation never agree."""
        self.clock += 1
        return datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(minutes=self.clock)

    def writes(self) -> list[str]:
        """What was asked for that changes anything, in order."""
        return [f'{request.method} {request.path}' for request in self.requests if request.method != 'GET']


@contextlib.contextmanager
def serving(certificate: tuple[str, str] | None = None) -> Iterator[tuple[str, State]]:
    """Serves until the end of the block; yields the address and the state.

    Args:
        certificate: files of a certificate and its key, for HTTPS.
    """
    state = State()
    server = LoopbackServer(('127.0.0.1', 0), type('Bound', (Handler,), {'state': state}))
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True)
    thread.start()
    try:
        yield f'http{"s" if certificate else ""}://127.0.0.1:{server.server_address[1]}', state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class LoopbackServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        # That a client hangs up is what some tests are about.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    state: State
    lock = threading.Lock()

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.answer('GET')

    def do_POST(self) -> None:
        self.answer('POST')

    def do_DELETE(self) -> None:
        self.answer('DELETE')

    def answer(self, method: str) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        content = self.rfile.read(int(self.headers.get('content-length') or 0))
        headers = {key.lower(): value for key, value in self.headers.items()}
        fault = self.fault(f'{method} {url.path}')
        if fault and fault.kind == 'slow':
            time.sleep(1)
        with self.lock:
            try:
                if fault and fault.kind == 'status':
                    raise RefusedError(fault.status, {401: 16, 403: 7, 404: 5}.get(fault.status, 13), fault.message)
                if fault and fault.kind in ('login', 'redirect', 'drop'):
                    self.misbehave(fault.kind)
                    return
                reply = self.route(method, url.path, query, content, headers)
                if fault and fault.kind == 'late':
                    self.misbehave('drop')
                    return
                self.send(200, api.ApiClient().sanitize_for_serialization(reply))
            except RefusedError as refused:
                message = str(refused)
                details = {'@type': 'type.googleapis.com/google.rpc.Status', 'code': refused.code, 'message': message}
                body = {'error': message, 'code': refused.code, 'message': message, 'details': [details]}
                self.send(refused.status, body)

    def fault(self, what: str) -> Fault | None:
        for fault in self.state.faults:
            if fault.times and re.fullmatch(fault.fits, what):
                fault.times -= 1
                return fault
        return None

    def misbehave(self, kind: str) -> None:
        if kind == 'drop':
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(302 if kind == 'redirect' else 200)
        if kind == 'redirect':
            self.send_header('Location', '/dex/auth?client_id=kubeflow')
        self.send_header('Content-Type', 'text/html; charset=utf-8')
        self.send_header('Content-Length', str(len(LOGIN_PAGE)))
        self.end_headers()
        self.wfile.write(LOGIN_PAGE)

    def send(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def route(self, method: str, path: str, query: dict[str, str], content: bytes, headers: dict[str, str]) -> Any:
        is_form = headers.get('content-type', '').startswith('multipart/form-data')
        body = content if is_form else json.loads(content) if content else None
        self.state.requests.append(Request(method, path, query, body, headers))
        if self.state.token and headers.get('authorization') != f'Bearer {self.state.token}':
            raise RefusedError(401, 16, 'Request header error: there is no user identity header.')
        for verb, pattern, respond in ROUTES:
            match = re.fullmatch(ROOT + pattern, path)
            if match and verb == method:
                if is_form:
                    body = uploaded(content, headers['content-type'])
                reply = respond(self.state, SimpleNamespace(query=query, body=body, **match.groupdict()))
                count_enabled(self.state)
                return reply
        raise RefusedError(404, 5, 'Not Found')


def accepted(body: Any, kind: str, where: str = '') -> Any:
    """The model that the body is, if it is one."""
    if kind.startswith(('list[', 'dict(')):
        inner = kind[5:-1] if kind.startswith('list[') else kind[5:-1].partition(', ')[2]
        for entry in body if kind.startswith('list[') else body.values():
            accepted(entry, inner, where)
        return None
    if kind in PRIMITIVES:
        if not isinstance(body, PRIMITIVES[kind]) or (kind == 'str' and isinstance(body, bool)):
            raise invalid(f'{where}: {body!r} is no {kind}')
        return None
    model = getattr(api, kind)
    if not model.openapi_types:
        if body not in model.allowable_values:
            raise invalid(f'{where}: {body!r} is not in {model.allowable_values}')
        return None
    types = {model.attribute_map[name]: of for name, of in model.openapi_types.items()}
    for key, value in body.items():
        if key not in types:
            raise invalid(f'unknown field {where}.{key}')
        accepted(value, types[key], f'{where}.{key}')
    return api.ApiClient().deserialize(SimpleNamespace(data=json.dumps(body)), kind)


def uploaded(content: bytes, kind: str) -> str:
    """The text of the file in a form."""
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        f'Content-Type: {kind}\r\n\r\n'.encode() + content
    )
    (part,) = message.iter_parts()  # type: ignore[attr-defined]
    if part.get_param('name', header='content-disposition') != 'uploadfile':
        raise invalid('Failed to read pipeline from file')
    if not str(part.get_filename()).endswith('.yaml'):
        raise invalid('Unexpected pipeline file format. Support .zip, .tar.gz, .json or YAML.')
    return part.get_payload(decode=True).decode()


def authorised(state: State, namespace: str | None, verb: str, resource: str) -> None:
    if not state.multi_user:
        return
    if not namespace:
        raise invalid('Namespace is empty')
    if namespace not in state.rights:
        raise RefusedError(
            403,
            7,
            f"Failed to authorize with API: PermissionDenied: User 'ada@example.com' is not authorized with reason:  "
            f'(request: &ResourceAttributes{{Namespace:{namespace},Verb:{verb},Group:pipelines.kubeflow.org,'
            f'Version:v1beta1,Resource:{resource},Subresource:,Name:,}})',
        )


def page(
    items: list[Any], query: dict[str, str], keys: tuple[str, ...], extra: frozenset[str] = frozenset()
) -> tuple[list[Any], str | None]:
    """A page of what the query asks for, and the token of the next one."""
    if set(query) - LISTING - extra:
        raise invalid(f'unknown query parameter {set(query) - LISTING - extra}')
    for predicate in json.loads(query.get('filter') or '{}').get('predicates', []):
        if predicate['operation'] not in (1, 'EQUALS') or predicate['key'] not in keys:
            raise invalid(f'no support for filtering on {predicate}')
        # As with MariaDB's usual collation.
        wanted = predicate['stringValue'].casefold()
        items = [item for item in items if getattr(item, predicate['key']).casefold() == wanted]
    by, _, order = (query.get('sort_by') or 'created_at').partition(' ')
    items = sorted(items, key=lambda item: getattr(item, by), reverse=order == 'desc')
    size = min(int(query.get('page_size') or 0) or 20, 200)
    begin = int(base64.b64decode(query['page_token'])) if query.get('page_token') else 0
    following = base64.b64encode(str(begin + size).encode()).decode() if begin + size < len(items) else None
    return items[begin : begin + size], following


def found(items: list[Any], key: str, value: str, kind: str) -> Any:
    for item in items:
        if getattr(item, key) == value:
            return item
    raise RefusedError(404, 5, f'Failed to get {kind}: ResourceNotFoundError: {kind} {value} not found.')


def of_namespace(state: State, items: list[Any], query: dict[str, str]) -> list[Any]:
    """With one user only, the namespace is not heeded."""
    return [item for item in items if not state.multi_user or item.namespace == query.get('namespace')]


def create_pipeline(state: State, request: Any) -> Any:
    body = accepted(request.body, 'V2beta1Pipeline', 'pipeline')
    authorised(state, body.namespace, 'create', 'pipelines')
    if any((one.display_name, one.namespace) == (body.display_name, body.namespace) for one in state.pipelines):
        raise RefusedError(409, 6, f'Already exist error: The name {body.display_name} already exist.')
    state.pipelines.append(
        api.V2beta1Pipeline(
            pipeline_id=str(uuid.uuid4()),
            display_name=body.display_name,
            namespace=body.namespace if state.multi_user else None,
            created_at=state.now(),
        )
    )
    return state.pipelines[-1]


def list_pipelines(state: State, request: Any) -> Any:
    if state.multi_user and request.query.get('namespace'):
        authorised(state, request.query['namespace'], 'list', 'pipelines')
    items, token = page(of_namespace(state, state.pipelines, request.query), request.query, ('display_name',))
    return api.V2beta1ListPipelinesResponse(pipelines=items, total_size=len(items), next_page_token=token)


def upload_version(state: State, request: Any) -> Any:
    pipeline = found(state.pipelines, 'pipeline_id', request.query.get('pipelineid', ''), 'Pipeline')
    authorised(state, pipeline.namespace, 'create', 'pipelines')
    name = request.query.get('name')
    if any((one.pipeline_id, one.display_name) == (pipeline.pipeline_id, name) for one in state.versions):
        raise RefusedError(409, 6, 'Failed to create a pipeline version')
    specification, *platforms = yaml.safe_load_all(request.body)
    try:
        json_format.ParseDict(specification, pipeline_spec_pb2.PipelineSpec())
        for document in platforms:
            json_format.ParseDict(document, pipeline_spec_pb2.PlatformSpec())
    except json_format.ParseError as error:
        raise invalid(f'unknown template format: {error}') from error
    state.versions.append(
        api.V2beta1PipelineVersion(
            pipeline_id=pipeline.pipeline_id,
            pipeline_version_id=str(uuid.uuid4()),
            display_name=name,
            pipeline_spec={'pipeline_spec': specification},
            created_at=state.now(),
        )
    )
    return state.versions[-1]


def list_versions(state: State, request: Any) -> Any:
    found(state.pipelines, 'pipeline_id', request.pipeline_id, 'Pipeline')
    of_pipeline = [version for version in state.versions if version.pipeline_id == request.pipeline_id]
    items, token = page(of_pipeline, request.query, ('display_name',))
    return api.V2beta1ListPipelineVersionsResponse(
        pipeline_versions=items, total_size=len(items), next_page_token=token
    )


def create_experiment(state: State, request: Any) -> Any:
    body = accepted(request.body, 'V2beta1Experiment', 'experiment')
    authorised(state, body.namespace, 'create', 'experiments')
    state.experiments.append(
        api.V2beta1Experiment(
            experiment_id=str(uuid.uuid4()),
            display_name=body.display_name,
            namespace=body.namespace if state.multi_user else None,
            created_at=state.now(),
        )
    )
    return state.experiments[-1]


def list_experiments(state: State, request: Any) -> Any:
    authorised(state, request.query.get('namespace'), 'list', 'experiments')
    items, token = page(of_namespace(state, state.experiments, request.query), request.query, ('display_name',))
    return api.V2beta1ListExperimentsResponse(experiments=items, total_size=len(items), next_page_token=token)


def checked(state: State, body: Any, resource: str) -> Any:
    """The experiment of a run that may be created."""
    experiment = found(state.experiments, 'experiment_id', body.experiment_id, 'Experiment')
    authorised(state, experiment.namespace, 'create', resource)
    reference = body.pipeline_version_reference
    version = found(state.versions, 'pipeline_version_id', reference.pipeline_version_id, 'PipelineVersion')
    inputs = version.pipeline_spec['pipeline_spec']['root'].get('inputDefinitions', {}).get('parameters', {})
    given = body.runtime_config.parameters or {}
    for name in given:
        if name not in inputs:
            raise invalid(f'parameter {name} is not in the pipeline spec')
    for name, definition in inputs.items():
        if not definition.get('isOptional') and 'defaultValue' not in definition and name not in given:
            raise invalid(f'parameter {name} is not optional, yet has neither default value nor user provided value')
    # What nobody asks for, the server fills in.
    body.service_account = body.service_account or 'pipeline-runner'
    body.created_at = state.now()
    body.namespace = experiment.namespace
    return experiment


def create_run(state: State, request: Any) -> Any:
    body = accepted(request.body, 'V2beta1Run', 'run')
    checked(state, body, 'runs')
    body.run_id = str(uuid.uuid4())
    body.state = 'PENDING'
    body.storage_state = 'AVAILABLE'
    state.runs.append(body)
    return body


def list_runs(state: State, request: Any) -> Any:
    authorised(state, request.query.get('namespace'), 'list', 'runs')
    items, token = page(
        of_namespace(state, state.runs, request.query), request.query, ('display_name',), frozenset({'experiment_id'})
    )
    return api.V2beta1ListRunsResponse(runs=items, total_size=len(items), next_page_token=token)


def get_run(state: State, request: Any) -> Any:
    run = found(state.runs, 'run_id', request.run_id, 'Run')
    look = state.looks.get(run.run_id, 0)
    state.looks[run.run_id] = look + 1
    run.state, tasks = state.course[min(look, len(state.course) - 1)]
    run.run_details = api.V2beta1RunDetails(task_details=details(run, tasks))
    if run.state in ('SUCCEEDED', 'FAILED', 'CANCELED', 'SKIPPED'):
        run.finished_at = run.created_at + datetime.timedelta(seconds=90)
    return run


def details(run: Any, tasks: list[tuple[str, str, str]]) -> list[Any]:
    """As KFP lists them: every node of Argo's workflow. The error is the executor's, not the task's."""

    def node(name: str, state: str, parent: str | None, children: tuple[str, ...] = (), error: str = '') -> Any:
        return api.V2beta1PipelineTaskDetail(
            run_id=run.run_id,
            task_id=f'{parent or "workflow"}/{name}',
            display_name=name,
            state=state,
            create_time=run.created_at,
            start_time=run.created_at,
            end_time=run.created_at + datetime.timedelta(seconds=30),
            parent_task_id=parent,
            pod_name=f'pod-{parent}-{name}',
            child_tasks=[api.PipelineTaskDetailChildTask(pod_name=child) for child in children],
            error=api.GooglerpcStatus(code=13, message=error) if error else None,
        )

    nodes = [node('root', run.state, None), node('root-driver', 'SUCCEEDED', None)]
    for name, state, error in tasks:
        nodes += [
            node(name, state, 'root', (f'pod-{name}-executor',)),
            node(f'{name}-driver', 'SUCCEEDED', 'root'),
            node('executor', state, name, error=error),
        ]
    return nodes


def create_recurring(state: State, request: Any) -> Any:
    body = accepted(request.body, 'V2beta1RecurringRun', 'recurring_run')
    check_cron(body.trigger.cron_schedule.cron)
    if not 1 <= int(body.max_concurrency) <= 10:
        raise invalid(
            f'The max concurrency of the recurring run is out of range. Support 1-10. Received {body.max_concurrency}.'
        )
    checked(state, body, 'jobs')
    body.recurring_run_id = str(uuid.uuid4())
    body.status = 'ENABLED' if body.mode == 'ENABLE' else 'DISABLED'
    body.updated_at = body.created_at
    state.recurring.append(body)
    return body


def check_cron(expression: str) -> None:
    """What robfig/cron 1.2.0 says."""
    fields = expression.split()
    problem = ''
    if not 5 <= len(fields) <= 6:
        problem = f'Expected 5 to 6 fields, found {len(fields)}: {expression}'
    for text, (first, last) in zip(fields, ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6)), strict=False):
        for number in re.findall(r'[A-Za-z0-9=]+', re.sub('/[0-9]+', '', text)):
            if not number.isdecimal():
                problem = (
                    problem or f'Failed to parse int from {number}: strconv.Atoi: parsing "{number}": invalid syntax'
                )
            elif not first <= int(number) <= last:
                problem = problem or f'End of range ({number}) above maximum ({last}): {text}'
    if problem:
        raise invalid(
            f'Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron). Error: {problem}'
        )


def list_recurring(state: State, request: Any) -> Any:
    authorised(state, request.query.get('namespace'), 'list', 'jobs')
    keys = ('display_name', 'recurring_run_id')
    items, token = page(
        of_namespace(state, state.recurring, request.query), request.query, keys, frozenset({'experiment_id'})
    )
    return api.V2beta1ListRecurringRunsResponse(recurring_runs=items, total_size=len(items), next_page_token=token)


def of_recurring(state: State, request: Any, verb: str) -> Any:
    run = found(state.recurring, 'recurring_run_id', request.recurring_run_id, 'Job')
    authorised(state, run.namespace, verb, 'jobs')
    return run


def switch(state: State, request: Any, status: str, mode: str) -> dict[str, Any]:
    run = of_recurring(state, request, mode.lower())
    run.status, run.mode = status, mode
    return {}


def delete_recurring(state: State, request: Any) -> dict[str, Any]:
    state.recurring.remove(of_recurring(state, request, 'delete'))
    return {}


def count_enabled(state: State) -> None:
    for run in state.recurring:
        enabled = sum(one.display_name == run.display_name and one.status == 'ENABLED' for one in state.recurring)
        state.most_enabled[run.display_name] = max(enabled, state.most_enabled.get(run.display_name, 0))


ROUTES: tuple[tuple[str, str, Callable[[State, Any], Any]], ...] = (
    ('GET', '/healthz', lambda state, request: api.V2beta1GetHealthzResponse(multi_user=state.multi_user)),
    ('GET', '/pipelines', list_pipelines),
    ('POST', '/pipelines', create_pipeline),
    ('POST', '/pipelines/upload_version', upload_version),
    ('GET', '/pipelines/(?P<pipeline_id>[^/]+)/versions', list_versions),
    ('GET', '/experiments', list_experiments),
    ('POST', '/experiments', create_experiment),
    ('GET', '/runs', list_runs),
    ('POST', '/runs', create_run),
    ('GET', '/runs/(?P<run_id>[^/:]+)', get_run),
    ('GET', '/recurringruns', list_recurring),
    ('POST', '/recurringruns', create_recurring),
    ('GET', '/recurringruns/(?P<recurring_run_id>[^/:]+)', lambda state, request: of_recurring(state, request, 'get')),
    ('DELETE', '/recurringruns/(?P<recurring_run_id>[^/:]+)', delete_recurring),
    (
        'POST',
        '/recurringruns/(?P<recurring_run_id>[^/:]+):enable',
        lambda state, request: switch(state, request, 'ENABLED', 'ENABLE'),
    ),
    (
        'POST',
        '/recurringruns/(?P<recurring_run_id>[^/:]+):disable',
        lambda state, request: switch(state, request, 'DISABLED', 'DISABLE'),
    ),
)
