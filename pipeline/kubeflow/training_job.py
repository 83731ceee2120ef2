"""The manifest of a training on several pods: a TFJob of Kubeflow's Training Operator.

The operator gives every pod TF_CONFIG and a name under which the others find it, which is all that
MultiWorkerMirroredStrategy asks for. Its successor, Kubeflow Trainer v2 (`TrainJob`), has no runtime for TensorFlow and
sets no TF_CONFIG (kubeflow/trainer issues 2443 and 2699).
"""

import json
from typing import Any, Final

from components.errors import StepError
from components.train.job import GROUP, REPLICAS, VERSION
from pipeline.config import Config
from pipeline.kubeflow.settings import KubeflowSettings, Resources

CONTAINER: Final = 'tensorflow'
"""The operator sets TF_CONFIG in the container of this name alone."""

COMMAND: Final = ('python', '-m', 'components.train.worker')


def refuse_workers_in_one_pod(config: Config) -> None:
    """Raises StepError where several workers would be processes in the Trainer's pod."""
    if config.workers.count > 1 and config.kubeflow.training == 'pod':
        raise StepError(
            f'workers.count is {config.workers.count} and kubeflow.training pod: set kubeflow.training to job for as '
            'many pods, or workers.count to 1 for one process on all GPUs of the pod.'
        )


def training_job(settings: KubeflowSettings, task: str, resources: Resources) -> str:
    """The TFJob of a task as JSON, as `components.train.job.train` takes it.

    Args:
        settings: image, volume of the state, Secrets and how long a job is kept.
        task: `expression` or `keypoints`.
        resources: of each pod.
    """
    pod = {
        'containers': [
            {
                'name': CONTAINER,
                'image': settings.image,
                'command': list(COMMAND),
                'args': [],
                'env': _environment(settings),
                'resources': _resources(resources),
                'volumeMounts': [{'name': 'state', 'mountPath': settings.state.path}],
            }
        ],
        'volumes': [{'name': 'state', 'persistentVolumeClaim': {'claimName': settings.state.claim}}],
        'nodeSelector': resources.node_selector,
        'imagePullSecrets': [{'name': name} for name in settings.image_pull_secrets],
    }
    manifest = {
        'apiVersion': f'{GROUP}/{VERSION}',
        'kind': 'TFJob',
        'metadata': {'labels': {'app': 'emotion-pipeline', 'task': task}},
        'spec': {
            'runPolicy': {
                # What still runs when the chief has done is ended; what has ended stays, with its log.
                'cleanPodPolicy': 'Running',
                'ttlSecondsAfterFinished': settings.training_job_seconds,
            },
            'tfReplicaSpecs': {
                REPLICAS: {
                    # Whatever exits with an error is started again and goes on after the last epoch.
                    'restartPolicy': 'OnFailure',
                    'template': {
                        # A service mesh would stand between the workers.
                        'metadata': {'annotations': {'sidecar.istio.io/inject': 'false'}},
                        'spec': pod,
                    },
                }
            },
        },
    }
    # Blanks keep apart the two braces that Kubeflow would take for a template.
    return json.dumps(manifest, sort_keys=True)


def _environment(settings: KubeflowSettings) -> list[dict[str, Any]]:
    return [
        {'name': variable, 'valueFrom': {'secretKeyRef': {'name': entry.secret, 'key': entry.key}}}
        for variable, entry in sorted(settings.secrets.items())
    ]


def _resources(wanted: Resources) -> dict[str, Any]:
    extended = {wanted.accelerator: str(wanted.accelerators)} if wanted.accelerator else {}
    return {
        'requests': {'cpu': f'{wanted.cpu_request:g}', 'memory': f'{wanted.memory_request:g}G', **extended},
        'limits': {'cpu': f'{wanted.cpu_limit:g}', 'memory': f'{wanted.memory_limit:g}G', **extended},
    }
