"""Engines: the settings a person writes, and the flags that Beam gets."""

import pytest
from click.testing import CliRunner

from components.errors import StepError
from pipeline.beam.settings import DIRECT, to_flags
from pipeline.cli import main
from pipeline.config import load

DATAFLOW = (
    'beam.runner=dataflow',
    'beam.dataflow={project: mine, region: europe-west1, temp_location: "gs://mine/temp", image: registry/worker:1}',
)


def flags(*overrides: str) -> tuple[str, ...]:
    return to_flags(load('demo', overrides).beam)


def test_the_default_is_the_direct_runner_in_one_process():
    assert flags() == DIRECT
    assert flags('beam.flags=["--experiments=some"]') == (*DIRECT, '--experiments=some')


def test_portable_needs_nothing_said_where_all_is_on_this_machine():
    assert flags('beam.runner=portable') == (
        '--runner=PortableRunner',
        '--job_endpoint=localhost:8099',
        '--job_server_timeout=7200',
        '--environment_type=EXTERNAL',
        '--environment_config=localhost:50000',
        '--sdk_worker_parallelism=1',
        '--sdk_container_image=none',
        '--experiments=disable_logging_submission_environment',
    )


@pytest.mark.parametrize(
    ('workers', 'expected'),
    [
        ('{environment: docker, image: "worker:1"}', ('DOCKER', 'worker:1', 'worker:1')),
        ('{environment: process, command: /opt/boot}', ('PROCESS', '{"command": "/opt/boot"}', 'none')),
    ],
)
def test_each_environment_of_the_workers_has_its_configuration(workers, expected):
    kind, config, image = expected
    made = flags('beam.runner=portable', f'beam.workers={workers}')
    assert f'--environment_type={kind}' in made
    assert f'--environment_config={config}' in made
    assert f'--sdk_container_image={image}' in made


def test_workers_in_this_process_have_no_configuration():
    made = flags('beam.runner=portable', 'beam.workers.environment=loopback')
    assert '--environment_type=LOOPBACK' in made
    assert not [flag for flag in made if flag.startswith('--environment_config')]


def test_flink_starts_its_job_server_here_or_sends_it_or_finds_it_running():
    here = flags(
        'beam.runner=flink', 'beam.flink={master: "flink:8081", job_server_jar: /jars/flink.jar, parallelism: 4}'
    )
    assert here[:4] == (
        '--runner=FlinkRunner',
        '--parallelism=4',
        '--flink_master=flink:8081',
        '--flink_job_server_jar=/jars/flink.jar',
    )
    assert '--flink_submit_uber_jar' in flags('beam.runner=flink', 'beam.flink={master: "flink:8081", uber_jar: true}')
    running = flags('beam.runner=flink', 'beam.job_endpoint=jobs:8099')
    assert running[:2] == ('--runner=FlinkRunner', '--job_endpoint=jobs:8099')
    assert not [flag for flag in running if 'flink_' in flag]


def test_spark_likewise():
    here = flags('beam.runner=spark', 'beam.spark={master: "spark://spark:7077", job_server_jar: /jars/spark.jar}')
    assert here[:3] == (
        '--runner=SparkRunner',
        '--spark_master_url=spark://spark:7077',
        '--spark_job_server_jar=/jars/spark.jar',
    )
    assert flags('beam.runner=spark', 'beam.job_endpoint=jobs:8099')[:2] == (
        '--runner=SparkRunner',
        '--job_endpoint=jobs:8099',
    )


def test_dataflow_gets_its_project_and_the_workers_image():
    made = flags(*DATAFLOW, 'beam.dataflow.maximum_workers=8')
    assert {'--project=mine', '--sdk_container_image=registry/worker:1', '--max_num_workers=8'} <= set(made)
    assert not [flag for flag in made if flag.endswith('=')]


def test_beam_parses_what_the_settings_make():
    from apache_beam.options import pipeline_options as options

    made = options.PipelineOptions(list(flags('beam.runner=flink', 'beam.flink.master=flink:8081')))
    assert made.view_as(options.FlinkRunnerOptions).flink_master == 'flink:8081'
    assert made.view_as(options.FlinkRunnerOptions).flink_version == '1.19'
    assert made.view_as(options.PortableOptions).environment_config == 'localhost:50000'
    cloud = options.PipelineOptions(list(flags(*DATAFLOW, 'beam.dataflow.machine_type=n2-standard-4')))
    assert cloud.view_as(options.WorkerOptions).machine_type == 'n2-standard-4'
    assert cloud.view_as(options.SetupOptions).sdk_location == 'container'


@pytest.mark.parametrize(
    ('overrides', 'rule'),
    [
        (['beam.runner=ray'], 'beam.runner'),
        (['beam=[--runner=FlinkRunner]'], 'keys with values'),
        (['beam.flags=[runner=FlinkRunner]'], 'write each as --name'),
        (['beam.flags=["--runner=FlinkRunner"]'], 'set beam.runner instead'),
        (['beam.flags=["--direct-num-workers=2"]'], 'set beam.runner instead'),
        (['beam.runner=portable', 'beam.flags=["--environment_type=DOCKER"]'], 'set beam.workers instead'),
        (['beam.runner=portable', 'beam.workers.address=""'], 'set beam.workers.address'),
        (['beam.runner=portable', 'beam.workers.environment=docker'], 'set beam.workers.image'),
        (['beam.runner=portable', 'beam.workers.environment=process'], 'set beam.workers.command'),
        (['beam.runner=portable', 'beam.workers.processes=0'], 'processes is 1'),
        (['beam.timeout=0'], 'beam.timeout'),
        (['beam.runner=flink'], 'set beam.flink.master, or beam.job_endpoint'),
        (['beam.runner=spark'], 'set beam.spark.master, or beam.job_endpoint'),
        (['beam.runner=flink', 'beam.flink.master=a:1', 'beam.job_endpoint=b:2'], 'not both'),
        (['beam.runner=flink', 'beam.flink.uber_jar=true', 'beam.job_endpoint=b:2'], 'leave beam.job_endpoint out'),
        (['beam.runner=flink', 'beam.flink.master=a:1', 'beam.flink.version="1.20"'], 'version'),
        (['beam.runner=dataflow'], 'set beam.dataflow.project'),
        ([*DATAFLOW, 'beam.dataflow.temp_location=/tmp'], 'gs://'),
        ([*DATAFLOW, 'beam.dataflow.image=""'], 'set beam.dataflow.image'),
        ([*DATAFLOW, 'beam.job_endpoint=a:1'], 'no job endpoint'),
    ],
)
def test_what_is_missing_or_contradicts_is_refused_at_load(overrides, rule):
    with pytest.raises(StepError, match=rule) as caught:
        load('demo', overrides)
    assert len(str(caught.value).splitlines()) == 1


def test_an_engine_that_does_not_run_is_not_looked_at():
    assert flags('beam.flink.uber_jar=true', 'beam.job_endpoint=a:1') == DIRECT


def test_the_option_is_short_for_the_setting_and_a_setting_has_the_last_word():
    def shown(*arguments: str) -> str:
        result = CliRunner().invoke(main, ['config', 'show', *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    assert '  runner: portable\n' in shown('--beam', 'portable')
    assert '  runner: direct\n' in shown()
    assert '  runner: direct\n' in shown('--set', 'beam.runner=direct', '--beam', 'portable')
    assert 'is not one of' in CliRunner().invoke(main, ['config', 'show', '--beam', 'ray']).output
