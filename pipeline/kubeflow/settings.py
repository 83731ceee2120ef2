"""What can be configured of a run on Kubeflow Pipelines. Importing this imports nothing heavy."""

from dataclasses import dataclass, field
from typing import Literal

from components.settings import demand


@dataclass(frozen=True)
class Volume:
    """A PersistentVolumeClaim that is mounted into tasks; a bucket comes as one through its CSI driver.

    Attributes:
        path: where it is mounted, absolute.
        claim: the claim's name; empty where the path is there without one.
    """

    path: str
    claim: str = ''

    def __post_init__(self):
        demand(self.path.startswith('/'), f'the path of a volume is absolute, not {self.path!r}')


@dataclass(frozen=True)
class Resources:
    """What a task asks of its node.

    Attributes:
        cpu_request, cpu_limit: cores.
        memory_request, memory_limit: gigabytes.
        accelerator: the resource's name, such as `nvidia.com/gpu`; empty for none.
        accelerators: how many.
        node_selector: labels that the node must have.
    """

    cpu_request: float = 0.5
    cpu_limit: float = 2.0
    memory_request: float = 1.5
    memory_limit: float = 4.0
    accelerator: str = ''
    accelerators: int = 1
    node_selector: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        demand(0 < self.cpu_request <= self.cpu_limit, 'cpu_request is more than 0 and no more than cpu_limit')
        demand(
            0 < self.memory_request <= self.memory_limit, 'memory_request is more than 0 and no more than memory_limit'
        )
        demand(self.accelerators >= 1, 'accelerators is 1 or more')


@dataclass(frozen=True)
class Retries:
    """How often a task's pod is started again when it fails, and after how long.

    Attributes:
        count: of attempts after the first.
        back_off: seconds before the first of them.
        factor: by which each wait is longer than the last one.
        maximum_back_off: seconds that no wait exceeds.
    """

    count: int = 2
    back_off: int = 30
    factor: float = 2.0
    maximum_back_off: int = 600

    def __post_init__(self):
        demand(self.count >= 0, 'count is 0 (none) or more')
        demand(min(self.back_off, self.maximum_back_off) >= 0, 'back_off and maximum_back_off are 0 or more')
        demand(self.factor >= 1, 'factor is 1 or more')


@dataclass(frozen=True)
class SecretKey:
    """One entry of a Kubernetes Secret, which is named and never quoted.

    Attributes:
        secret: the Secret's name.
        key: its entry.
    """

    secret: str
    key: str


@dataclass(frozen=True)
class KubeflowSettings:
    """How the pipeline is compiled for Kubeflow Pipelines.

    Attributes:
        image: the pipeline's image, made from `kubeflow/Dockerfile`.
        pipeline_root: where a run's artifacts go, such as `s3://bucket/runs`; empty leaves it to the cluster.
        data: volume of the datasets; relative paths of the configuration lie on it.
        serving: volume of the served models.
        state: volume of what outlives a run: checkpoints and accepted statistics.
        resources: by task (`Trainer-expression`), by step (`Trainer`), or `default`.
        retries: of every task but those that refuse.
        secrets: from an environment variable of the tasks to the entry of a Secret that it is set from.
        image_pull_secrets: names of Secrets for the image's registry.
        training: `pod` trains in the Trainer's own pod; `job` starts a TFJob of `workers.count` pods, which have the
            resources of `Trainer`, and lets the step, with those of `default`, wait for it.
        training_job_seconds: how long a job that has ended is kept, with its logs.
    """

    image: str = 'emotion-pipeline:latest'
    pipeline_root: str = ''
    data: Volume = Volume('/mnt/data', 'faces-data')
    serving: Volume = Volume('/mnt/serving', 'faces-serving')
    state: Volume = Volume('/mnt/state', 'faces-state')
    resources: dict[str, Resources] = field(
        default_factory=lambda: {
            'default': Resources(),
            'Trainer': Resources(cpu_request=2.0, cpu_limit=4.0, memory_request=3.0, memory_limit=8.0),
        }
    )
    retries: Retries = Retries()
    secrets: dict[str, SecretKey] = field(default_factory=dict)
    image_pull_secrets: tuple[str, ...] = ()
    training: Literal['pod', 'job'] = 'pod'
    training_job_seconds: int = 86_400

    def __post_init__(self):
        demand(self.training_job_seconds >= 0, 'kubeflow.training_job_seconds is 0 or more')
        demand(
            self.training == 'pod' or bool(self.state.claim),
            'kubeflow.training is job, whose pods share the volume kubeflow.state: give it a claim',
        )
