"""On which engine Beam's jobs run: ingest, statistics, Transform, Evaluator. Importing this imports nothing heavy."""

import json
from dataclasses import dataclass
from typing import Final, Literal, get_args

from components.settings import demand

Runner = Literal['direct', 'portable', 'flink', 'spark', 'dataflow']
Environment = Literal['external', 'docker', 'process', 'loopback']
FlinkVersion = Literal['1.17', '1.18', '1.19']

RUNNERS: Final[tuple[str, ...]] = get_args(Runner)

DIRECT: Final = (
    '--direct_running_mode=in_memory',
    '--direct_num_workers=1',
    # Else TFX builds a package of itself for every Beam job, for workers that there are none of.
    '--sdk_container_image=none',
)

_NAMES: Final = {'portable': 'PortableRunner', 'flink': 'FlinkRunner', 'spark': 'SparkRunner'}
_ENDPOINT: Final = 'localhost:8099'

_SET_BY: Final = {
    'runner': 'beam.runner',
    'direct_running_mode': 'beam.runner',
    'direct_num_workers': 'beam.runner',
    'job_endpoint': 'beam.job_endpoint',
    'job_server_timeout': 'beam.timeout',
    'environment_type': 'beam.workers',
    'environment_config': 'beam.workers',
    'environment_option': 'beam.workers',
    'environment_options': 'beam.workers',
    'sdk_worker_parallelism': 'beam.workers.processes',
    'sdk_container_image': 'beam.workers.image or beam.dataflow.image',
    'worker_harness_container_image': 'beam.workers.image or beam.dataflow.image',
    'flink_master': 'beam.flink.master',
    'flink_version': 'beam.flink.version',
    'flink_job_server_jar': 'beam.flink.job_server_jar',
    'flink_submit_uber_jar': 'beam.flink.uber_jar',
    'parallelism': 'beam.flink.parallelism',
    'spark_master_url': 'beam.spark.master',
    'spark_job_server_jar': 'beam.spark.job_server_jar',
    'project': 'beam.dataflow.project',
    'region': 'beam.dataflow.region',
    'temp_location': 'beam.dataflow.temp_location',
    'service_account_email': 'beam.dataflow.service_account',
    'machine_type': 'beam.dataflow.machine_type',
    'worker_machine_type': 'beam.dataflow.machine_type',
    'max_num_workers': 'beam.dataflow.maximum_workers',
    'sdk_location': 'beam.dataflow.image',
}
"""Beam's flags that settings turn into, and which: two answers to one question would contradict each other."""


@dataclass(frozen=True)
class BeamWorkerSettings:
    """Where the steps' own code runs, on every engine but `direct` and `dataflow`.

    Attributes:
        environment: `external`, a worker pool that runs beside each of the engine's nodes; `docker`, containers that
            the engine's nodes start; `process`, a command that they start; `loopback`, the process that runs the
            pipeline.
        address: `host:port` of the worker pool, as the engine's nodes see it (`external`).
        image: of the containers (`docker`).
        command: path, on the engine's nodes, of an executable that keeps Beam's container contract (`process`).
        processes: worker processes that each node starts for a job.
    """

    environment: Environment = 'external'
    address: str = 'localhost:50000'
    image: str = ''
    command: str = ''
    processes: int = 1

    def __post_init__(self):
        demand(self.processes >= 1, 'processes is 1 or more')


@dataclass(frozen=True)
class FlinkSettings:
    """Apache Flink.

    Attributes:
        master: `host:port` of the REST service of a Flink cluster; not needed where `beam.job_endpoint` names a job
            server, which knows it.
        version: the cluster's; Beam 2.62 has job servers for these. Not looked at where the jar is named.
        job_server_jar: path of Beam's job server for that version; Beam's own cache is looked into when left out.
        uber_jar: send the job server's jar with the job to the cluster, instead of starting the job server here: this
            machine then needs no Java.
        parallelism: tasks at a time; 0 leaves it to the cluster.
    """

    master: str = ''
    version: FlinkVersion = '1.19'
    job_server_jar: str = ''
    uber_jar: bool = False
    parallelism: int = 0

    def __post_init__(self):
        demand(self.parallelism >= 0, 'parallelism is 0 (as the cluster is set up) or more')


@dataclass(frozen=True)
class SparkSettings:
    """Apache Spark.

    Attributes:
        master: `spark://host:port`; not needed where `beam.job_endpoint` names a job server, which knows it.
        job_server_jar: path of Beam's job server for Spark 3; Beam's own cache is looked into when left out.
    """

    master: str = ''
    job_server_jar: str = ''


@dataclass(frozen=True)
class DataflowSettings:
    """Google Cloud Dataflow.

    Attributes:
        project: the cloud project that pays.
        region: where the workers are.
        temp_location: `gs://bucket/folder` for what jobs stage.
        service_account: email of the workers' account; the project's default when left out.
        image: the workers' image.
        machine_type: of the workers; Dataflow's default when left out.
        maximum_workers: 0 leaves it to Dataflow.
    """

    project: str = ''
    region: str = ''
    temp_location: str = ''
    service_account: str = ''
    image: str = ''
    machine_type: str = ''
    maximum_workers: int = 0

    def __post_init__(self):
        demand(self.maximum_workers >= 0, 'maximum_workers is 0 (as Dataflow decides) or more')


@dataclass(frozen=True)
class BeamSettings:
    """The engine of ingest, statistics, Transform and Evaluator.

    Attributes:
        runner: `direct` runs them in the pipeline's own process; `portable` on any job service that speaks Beam's Job
            API, such as Beam's own.
        job_endpoint: `host:port` of a job service that is running; `localhost:8099` for `portable` when left out. Flink
            and Spark otherwise start theirs here, which takes Java and the job server's jar.
        timeout: seconds after which a job of `portable` that has not ended is taken for lost.
        workers: where the steps' code runs.
        flink, spark, dataflow: of the engine that runs; the others are not looked at.
        flags: further flags of Beam, as `--name=value`, appended to those that these settings make.
    """

    runner: Runner = 'direct'
    job_endpoint: str = ''
    timeout: int = 2 * 3600
    workers: BeamWorkerSettings = BeamWorkerSettings()
    flink: FlinkSettings = FlinkSettings()
    spark: SparkSettings = SparkSettings()
    dataflow: DataflowSettings = DataflowSettings()
    flags: tuple[str, ...] = ()

    def __post_init__(self):
        demand(self.timeout >= 1, 'beam.timeout is 1 second or more')
        for flag in self.flags:
            _demand_flag(flag)
        if self.runner == 'dataflow':
            _demand_dataflow(self)
        elif self.runner != 'direct':
            _demand_workers(self.workers)
        if self.runner in ('flink', 'spark'):
            _demand_cluster(self)


def endpoint(settings: BeamSettings) -> str:
    """`host:port` of the job service that must be running, or an empty text where none is needed."""
    return settings.job_endpoint or (_ENDPOINT if settings.runner == 'portable' else '')


def job_server_jar(settings: BeamSettings) -> str | None:
    """The jar of the job server that the pipeline starts or sends; empty where Beam is to find it, None without one."""
    if settings.job_endpoint or settings.runner not in ('flink', 'spark'):
        return None
    return settings.flink.job_server_jar if settings.runner == 'flink' else settings.spark.job_server_jar


def needs_java(settings: BeamSettings) -> bool:
    """Whether a job server is started on this machine."""
    return job_server_jar(settings) is not None and not (settings.runner == 'flink' and settings.flink.uber_jar)


def to_flags(settings: BeamSettings) -> tuple[str, ...]:
    """Beam's flags."""
    if settings.runner == 'direct':
        return (*DIRECT, *settings.flags)
    engine = _dataflow(settings.dataflow) if settings.runner == 'dataflow' else _portable(settings)
    # Else Beam asks pip, which a uv environment has none of, what is installed here, at every job.
    return (*engine, '--experiments=disable_logging_submission_environment', *settings.flags)


def _portable(settings: BeamSettings) -> tuple[str, ...]:
    flags = [f'--runner={_NAMES[settings.runner]}']
    if endpoint(settings):
        flags.append(f'--job_endpoint={endpoint(settings)}')
    if settings.runner == 'portable':
        # Beam's own job service would drop a job's streams after a minute, and sees no worker that is lost at the end.
        flags.append(f'--job_server_timeout={settings.timeout}')
    return (*flags, *_cluster(settings), *_workers(settings.workers))


def _cluster(settings: BeamSettings) -> list[str]:
    jar = job_server_jar(settings)
    flags = []
    if settings.runner == 'flink':
        if settings.flink.parallelism:
            flags.append(f'--parallelism={settings.flink.parallelism}')
        if jar is not None:
            flags.append(f'--flink_master={settings.flink.master}')
            flags += ['--flink_submit_uber_jar'] if settings.flink.uber_jar else []
            flags += [] if jar else [f'--flink_version={settings.flink.version}']
    elif settings.runner == 'spark' and jar is not None:
        flags.append(f'--spark_master_url={settings.spark.master}')
    return [*flags, f'--{settings.runner}_job_server_jar={jar}'] if jar else flags


def _workers(workers: BeamWorkerSettings) -> list[str]:
    config = {
        'external': workers.address,
        'docker': workers.image,
        'process': json.dumps({'command': workers.command}),
        'loopback': '',
    }[workers.environment]
    return [
        f'--environment_type={workers.environment.upper()}',
        *([f'--environment_config={config}'] if config else []),
        f'--sdk_worker_parallelism={workers.processes}',
        # The workers have the package: TFX shall build none.
        f'--sdk_container_image={workers.image if workers.environment == "docker" else "none"}',
    ]


def _dataflow(settings: DataflowSettings) -> tuple[str, ...]:
    optional = {
        'service_account_email': settings.service_account,
        'worker_machine_type': settings.machine_type,
        'max_num_workers': settings.maximum_workers,
    }
    return (
        '--runner=DataflowRunner',
        f'--project={settings.project}',
        f'--region={settings.region}',
        f'--temp_location={settings.temp_location}',
        f'--sdk_container_image={settings.image}',
        # Beam is in the image: nothing of it is to be staged.
        '--sdk_location=container',
        *(f'--{name}={value}' for name, value in optional.items() if value),
    )


def _demand_flag(flag: str) -> None:
    name = flag.removeprefix('--').partition('=')[0].replace('-', '_')
    demand(flag.startswith('--') and bool(name), f'beam.flags holds {flag!r}: write each as --name or --name=value')
    demand(name not in _SET_BY, f'beam.flags holds {flag}: set {_SET_BY.get(name)} instead')


def _demand_workers(workers: BeamWorkerSettings) -> None:
    needed = {'external': 'address', 'docker': 'image', 'process': 'command'}.get(workers.environment)
    demand(
        needed is None or bool(getattr(workers, needed)),
        f'beam.workers.environment is {workers.environment}: set beam.workers.{needed}',
    )


def _demand_cluster(settings: BeamSettings) -> None:
    runner = settings.runner
    master = settings.flink.master if runner == 'flink' else settings.spark.master
    demand(
        bool(master or settings.job_endpoint),
        f'beam.runner is {runner}: set beam.{runner}.master, or beam.job_endpoint where its job server is running',
    )
    demand(
        not (master and settings.job_endpoint),
        f'beam.job_endpoint names a job server, which knows its master: set beam.{runner}.master or it, not both',
    )
    demand(
        not (runner == 'flink' and settings.flink.uber_jar and settings.job_endpoint),
        'beam.flink.uber_jar sends the job to the cluster itself: leave beam.job_endpoint out',
    )


def _demand_dataflow(settings: BeamSettings) -> None:
    demand(not settings.job_endpoint, 'beam.runner is dataflow, which has no job endpoint: leave beam.job_endpoint out')
    for name in ('project', 'region', 'temp_location', 'image'):
        demand(bool(getattr(settings.dataflow, name)), f'beam.runner is dataflow: set beam.dataflow.{name}')
    demand(
        settings.dataflow.temp_location.startswith('gs://'),
        f'beam.dataflow.temp_location is {settings.dataflow.temp_location!r}: give a folder as gs://bucket/folder',
    )
