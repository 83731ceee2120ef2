"""The manifests of kubeflow/serving: valid by their kinds' schemas, and fit for what the pipeline pushes."""

import copy
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import referencing
import yaml
from google.protobuf import text_format
from kubernetes_validate.utils import schema_contents
from tensorflow_serving.config import model_server_config_pb2

from components import faces

ROOT = Path(__file__).parents[3]
SERVING = ROOT / 'kubeflow' / 'serving'
KUBERNETES = '1.34.0'
SCHEMA = Path(__file__).with_name('inference_service.schema.json')
SERVER_PYTHON = ROOT / '.venv-serve' / 'bin' / 'python'

Manifest = dict[str, Any]


def read(path: Path) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(path.read_text(encoding='utf-8')) if document]


MANIFESTS = {
    f'{path.stem}:{document["kind"]}:{document["metadata"]["name"]}': document
    for path in sorted(SERVING.glob('*.yaml'))
    for document in read(path)
}
(CLAIM,) = (
    document['metadata']['name']
    for document in read(ROOT / 'kubeflow' / 'manifests' / 'volumes.yaml')
    if document['metadata']['name'].endswith('serving')
)


@pytest.fixture(params=MANIFESTS)
def manifest(request) -> Manifest:
    return copy.deepcopy(MANIFESTS[request.param])


@pytest.fixture(
    params=[name for name, document in MANIFESTS.items() if document['kind'] in ('Deployment', 'InferenceService')]
)
def workload(request) -> Manifest:
    return copy.deepcopy(MANIFESTS[request.param])


def check_schema(document: Manifest) -> None:
    """Raises jsonschema.ValidationError."""
    if document['kind'] != 'InferenceService':
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
        return
    definitions = schema_contents('kubernetes-json-schema/v1.34.0-local-strict/_definitions.json', KUBERNETES)
    schema = json.loads(SCHEMA.read_text(encoding='utf-8'))
    jsonschema.Draft202012Validator.check_schema(schema)
    registry = referencing.Registry().with_resource(definitions['$id'], referencing.Resource.from_contents(definitions))
    jsonschema.Draft202012Validator(schema, registry=registry).validate(document)


def pod(document: Manifest) -> Manifest:
    return document['spec']['template']['spec'] if document['kind'] == 'Deployment' else document['spec']['predictor']


def containers(document: Manifest) -> list[Manifest]:
    """Those of the pod; of a model for KServe's runtime, what it lays over the runtime's container."""
    given = pod(document)
    return [
        *given.get('initContainers', []),
        *given.get('containers', []),
        *([given['model']] if 'model' in given else []),
    ]


def check_confined(document: Manifest) -> None:
    """No root, no more rights, no writable disk, no token of the cluster."""
    given = pod(document)
    assert given['automountServiceAccountToken'] is False
    assert not {'hostNetwork', 'hostPID', 'hostIPC'} & given.keys()
    for container in containers(document):
        context = {**given.get('securityContext', {}), **container['securityContext']}
        assert context['runAsNonRoot'] is True and context['runAsUser'] > 0
        assert context['allowPrivilegeEscalation'] is False and context['readOnlyRootFilesystem'] is True
        assert context['capabilities'] == {'drop': ['ALL']}
        assert context['seccompProfile'] == {'type': 'RuntimeDefault'}
        assert not context.get('privileged', False)


def check_bounded(document: Manifest) -> None:
    """Memory and processor, asked for and limited."""
    for container in containers(document):
        for kind in ('requests', 'limits'):
            assert container['resources'][kind].keys() >= {'cpu', 'memory'}


def check_pinned(document: Manifest) -> None:
    """Every image has a tag of three numbers or a digest."""
    for container in containers(document):
        version = container.get('image') or f'runtime:{container["runtimeVersion"]}'
        assert re.search(r':\d+\.\d+\.\d+$|@sha256:[0-9a-f]{64}$', version), version


PATHS = re.compile(rf'/v1/models/({"|".join(faces.MODELS)})|/v2/health/(live|ready)')


def check_probed(document: Manifest) -> None:
    """Liveness and readiness, at a path and a port that the server has."""
    for container in containers(document):
        ports = {port['name']: port['containerPort'] for port in container.get('ports', [])}
        # KServe's runtime names its port itself.
        numbers = set(ports.values()) or {8080}
        for probe in ('readinessProbe', 'livenessProbe'):
            asked = container[probe]['httpGet']
            assert PATHS.fullmatch(asked['path'])
            assert ports.get(asked['port'], asked['port']) in numbers
            ours = 'components.serve' in container.get('command', [])
            assert asked['path'].startswith('/v2/health/' if ours else '/v1/models/')


def check_reads_pushed_models(document: Manifest) -> None:
    """The claim that the pipeline pushes to, read-only; writable is temporary space alone."""
    given = pod(document)
    volumes = {volume['name']: volume for volume in given['volumes']}
    claims = [volume['persistentVolumeClaim'] for volume in volumes.values() if 'persistentVolumeClaim' in volume]
    if 'model' in given:
        # KServe mounts it, read-only where no annotation says otherwise.
        assert claims == []
        assert given['model']['storageUri'] == f'pvc://{CLAIM}/{document["metadata"]["name"]}'
        assert document['metadata']['name'] in faces.MODELS
    else:
        assert claims == [{'claimName': CLAIM, 'readOnly': True}]
    for container in containers(document):
        assert {mount['name'] for mount in container['volumeMounts']} == volumes.keys()
        writable = [mount['mountPath'] for mount in container['volumeMounts'] if not mount.get('readOnly', False)]
        assert writable == ['/tmp']


CHECKS = (check_schema, check_confined, check_bounded, check_pinned, check_probed, check_reads_pushed_models)


def test_every_manifest_is_valid(manifest):
    check_schema(manifest)


@pytest.mark.parametrize('check', CHECKS[1:], ids=lambda check: check.__name__)
def test_every_workload_is_fit(workload, check):
    check(workload)


def change(document: Manifest, path: str, value: Any) -> None:
    """Puts the value at `a/b/0/c`, a `~` within a key standing for its slash; None takes away what is there."""
    *parents, last = (int(part) if part.isdigit() else part.replace('~', '/') for part in path.split('/'))
    place: Any = document
    for part in parents:
        place = place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value


TENSORFLOW = 'tensorflow-serving:Deployment:faces-tensorflow-serving'
SERVER = 'server:Deployment:faces-server'
KSERVE = 'kserve-tensorflow-serving:InferenceService:faces'
CUSTOM = 'kserve-server:InferenceService:emotion'
CANARY = 'kserve-canary:InferenceService:emotion-canary'

BROKEN: list[tuple[str, str, Any, Callable[[Manifest], None]]] = [
    (TENSORFLOW, 'spec/replica', 2, check_schema),
    (TENSORFLOW, 'spec/selector', None, check_schema),
    (TENSORFLOW, 'spec/template/spec/containers/0/livenessProbe/httpGet/path', '/healthz', check_probed),
    (TENSORFLOW, 'spec/template/spec/containers/0/readinessProbe/httpGet/port', 'web', check_probed),
    (TENSORFLOW, 'spec/template/spec/containers/0/image', 'docker.io/tensorflow/serving:latest', check_pinned),
    (TENSORFLOW, 'spec/template/spec/containers/0/image', 'docker.io/tensorflow/serving', check_pinned),
    (SERVER, 'spec/template/spec/containers/0/securityContext/runAsUser', 0, check_confined),
    (SERVER, 'spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem', None, check_confined),
    (SERVER, 'spec/template/spec/containers/0/securityContext/privileged', True, check_confined),
    (SERVER, 'spec/template/spec/automountServiceAccountToken', None, check_confined),
    (SERVER, 'spec/template/spec/containers/0/resources/limits', None, check_bounded),
    (SERVER, 'spec/template/spec/volumes/0/persistentVolumeClaim/claimName', 'faces-data', check_reads_pushed_models),
    (SERVER, 'spec/template/spec/containers/0/volumeMounts/0/readOnly', None, check_reads_pushed_models),
    (SERVER, 'spec/template/spec/containers/0/livenessProbe/httpGet/path', '/v1/models/faces', check_probed),
    (KSERVE, 'spec/predictor/model/storageURI', 'pvc://faces-serving/faces', check_schema),
    (KSERVE, 'spec/predictor/model/modelFormat', None, check_schema),
    (KSERVE, 'spec/predictor/model/storageUri', '/mnt/models', check_schema),
    (KSERVE, 'spec/predictor/model/protocolVersion', 'v3', check_schema),
    (KSERVE, 'spec/predictor/model/resources/limits/cpu', ['1'], check_schema),
    (KSERVE, 'spec/predictor/model/readinessProbe/httpGet/paths', '/', check_schema),
    (KSERVE, 'spec/predictor/containers', [{'name': 'kserve-container', 'image': 'a'}], check_schema),
    (KSERVE, 'spec/predictor/model/storageUri', 'pvc://faces-serving/keypoints', check_reads_pushed_models),
    (KSERVE, 'spec/predictor/model/volumeMounts', [], check_reads_pushed_models),
    (KSERVE, 'spec/predictor/model/securityContext/capabilities', None, check_confined),
    (KSERVE, 'spec/predictor/canaryTrafficPercent', 10, check_schema),
    (CUSTOM, 'metadata/name', '1-emotion', check_schema),
    (CUSTOM, 'metadata/annotations/serving.kserve.io~deploymentMode', 'Serverless', check_schema),
    (CUSTOM, 'spec/predictor/scaleMetric', 'concurrency', check_schema),
    (CUSTOM, 'spec/predictor/containers', None, check_schema),
    (CUSTOM, 'spec/predictor/containers/0/ports/0/containerPort', '8080', check_schema),
    (CUSTOM, 'spec/predictor/containers/0/readinessProbe/httpGet/port', 8501, check_probed),
    (CANARY, 'spec/predictor/canaryTrafficPercent', 101, check_schema),
    (CANARY, 'spec/predictor/minReplicas', -1, check_schema),
    (CANARY, 'spec/transformers', {}, check_schema),
]


@pytest.mark.parametrize(('name', 'path', 'value', 'check'), BROKEN, ids=[f'{row[0]}-{row[1]}' for row in BROKEN])
def test_what_is_broken_is_found(name, path, value, check):
    broken = copy.deepcopy(MANIFESTS[name])
    change(broken, path, value)
    with pytest.raises((AssertionError, KeyError, jsonschema.ValidationError)):
        check(broken)


def test_each_kind_of_server_serves_every_model():
    services = {
        document['metadata']['name'] for name, document in MANIFESTS.items() if name.startswith('kserve-tensorflow')
    }
    assert services == set(faces.MODELS)
    assert [config.name for config in models_config().model_config_list.config] == list(faces.MODELS)


@pytest.mark.parametrize('name', ['tensorflow-serving', 'server'])
def test_a_service_reaches_its_pods(name):
    deployment, service = (
        next(document for document in read(SERVING / f'{name}.yaml') if document['kind'] == kind)
        for kind in ('Deployment', 'Service')
    )
    assert service['spec']['selector'].items() <= deployment['spec']['template']['metadata']['labels'].items()
    assert deployment['spec']['selector']['matchLabels'] == service['spec']['selector']
    ports = {port['name']: port['containerPort'] for container in containers(deployment) for port in container['ports']}
    assert {port['targetPort']: port['port'] for port in service['spec']['ports']} == ports
    scraped = deployment['spec']['template']['metadata']['annotations']['prometheus.io/port']
    assert int(scraped) == ports['http']


def models_config() -> model_server_config_pb2.ModelServerConfig:
    text = MANIFESTS['tensorflow-serving:ConfigMap:faces-tensorflow-serving']['data']['models.config']
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


def test_tensorflow_servings_configuration_is_its_own_text_format():
    (mount,) = (mount for mount in containers(MANIFESTS[TENSORFLOW])[0]['volumeMounts'] if mount['name'] == 'serving')
    for config in models_config().model_config_list.config:
        assert config.base_path == f'{mount["mountPath"]}/{config.name}'
        assert config.model_platform == 'tensorflow'
        assert config.model_version_policy.latest.num_versions == 1
    data = MANIFESTS['tensorflow-serving:ConfigMap:faces-tensorflow-serving']['data']
    # Its message is in no package: https://www.tensorflow.org/tfx/serving/serving_config#monitoring_configuration
    monitoring = re.fullmatch(r'prometheus_config {\n  enable: true\n  path: "(.+)"\n}\n', data['monitoring.config'])
    assert monitoring is not None
    annotations = MANIFESTS[TENSORFLOW]['spec']['template']['metadata']['annotations']
    assert annotations['prometheus.io/path'] == monitoring.group(1)


def test_a_slip_in_tensorflow_servings_configuration_is_found():
    with pytest.raises(text_format.ParseError):
        text_format.Parse(
            'model_config_list { config { path: "/models" } }', model_server_config_pb2.ModelServerConfig()
        )


def test_tensorflow_serving_is_of_the_version_that_saves_the_models():
    locked = (ROOT / 'requirements' / 'development.lock').read_text(encoding='utf-8')
    (version,) = re.findall(r'^tensorflow==(\d+\.\d+)\.', locked, re.MULTILINE)
    assert f'tensorflow/serving:{version}.' in containers(MANIFESTS[TENSORFLOW])[0]['image']
    for model in faces.MODELS:
        runtime = containers(MANIFESTS[f'kserve-tensorflow-serving:InferenceService:{model}'])[0]
        assert runtime['runtimeVersion'].startswith(f'{version}.')


def arguments(container: Manifest) -> dict[str, str]:
    return dict(argument.removeprefix('--').split('=', 1) for argument in container['args'])


def test_tensorflow_servings_files_and_ports_are_there():
    (container,) = containers(MANIFESTS[TENSORFLOW])
    given = arguments(container)
    ports = {port['name']: port['containerPort'] for port in container['ports']}
    assert (int(given['port']), int(given['rest_api_port'])) == (ports['grpc'], ports['http'])
    data = MANIFESTS['tensorflow-serving:ConfigMap:faces-tensorflow-serving']['data']
    (folder,) = (mount['mountPath'] for mount in container['volumeMounts'] if mount['name'] == 'config')
    assert {given['model_config_file'], given['monitoring_config_file']} == {f'{folder}/{name}' for name in data}


@pytest.mark.parametrize('name', [SERVER, CUSTOM, CANARY])
def test_our_servers_flags_and_ports_are_its_own(name, server_help):
    (container,) = containers(MANIFESTS[name])
    given = arguments(container)
    for flag in given:
        assert re.search(rf'--{flag}\b', server_help), flag
    assert given['host'] == '0.0.0.0'
    ports = [port['containerPort'] for port in container['ports']]
    assert int(given['http-port']) in ports
    mounts = [mount['mountPath'] for mount in container['volumeMounts'] if mount['name'] == 'serving']
    assert all(Path(mount).is_relative_to(given['folder']) for mount in mounts)


@pytest.fixture(scope='module')
def server_help() -> str:
    if not SERVER_PYTHON.exists():
        pytest.skip(f'{SERVER_PYTHON} is missing, so the flags are NOT tested: make serve')
    command = [SERVER_PYTHON, '-m', 'components.serve', '--help']
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_canarys_steps_are_valid_and_move_one_version():
    """The patches that the README gives, one after the other."""
    document = copy.deepcopy(MANIFESTS[CANARY])
    steps = list(patches(SERVING / 'README.md'))
    assert len(steps) == 3
    shares = []
    for step in steps:
        for operation in step:
            change(document, operation['path'].strip('/'), operation.get('value'))
        for check in CHECKS:
            check(document)
        (container,) = containers(document)
        (mount,) = (mount for mount in container['volumeMounts'] if mount['name'] == 'serving')
        assert mount['mountPath'] == f'/models/{mount["subPath"]}'
        shares.append((mount['subPath'], document['spec']['predictor'].get('canaryTrafficPercent')))
    assert shares == [('faces/2', 10), ('faces/2', 50), ('faces/2', None)]


def patches(readme: Path) -> Iterator[list[dict[str, Any]]]:
    for text in re.findall(r"--patch '(.*?)'", readme.read_text(encoding='utf-8'), re.DOTALL):
        yield json.loads(text)
