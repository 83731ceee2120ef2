"""The graph, read top to bottom: two branches, one join."""

from dataclasses import dataclass

from tfx import types, version
from tfx.components.example_validator.component import ExampleValidator
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.pipeline import Pipeline

from components import faces
from components.audit.component import LabelAudit
from components.behaviour.component import BehaviourTest
from components.check.component import ServingCheck
from components.evaluate.component import FaceEvaluator
from components.ingest.component import FaceExampleGen
from components.joint.component import JointModel
from components.push.component import EVIDENCE, Pusher
from components.push.served_model import ServedModel
from components.report.component import RunReport
from components.source import fingerprint
from components.train.component import trainer
from components.transform.component import transform
from components.validate.data_check import DataCheck
from components.validate.data_gate import DataGate
from components.validate.packaged_schema import PackagedSchema
from components.validate.statistics import FaceStatistics
from pipeline.beam.settings import to_flags
from pipeline.config import TASKS, Config
from pipeline.world import World, accepted_folder


@dataclass(frozen=True)
class Branch:
    """The steps of one task that others build on."""

    steps: list[BaseComponent]
    channels: dict[str, types.BaseChannel]


def create_pipeline(
    config: Config, world: World, first: tuple[BaseComponent, ...] = (), outcomes: str = '', root: str = ''
) -> Pipeline:
    """The whole pipeline, for either runner.

    Args:
        config: where its folders are, and Beam's engine; the steps' settings come with the world.
        world: what `pipeline.world.survey` saw, or what the tasks in `first` will tell of it.
        first: tasks before the branches.
        outcomes: a folder into which it is written how a run ended, or an empty text.
        root: where the artifacts of this run go, a folder or a URI; an empty text for the store's own folder.
    """
    branches = {task: _branch(task, config, world) for task in TASKS}
    joined, results = _join(config, branches, world)

    # One self-contained page about the whole run, pass or refusal.
    report = RunReport(
        channels={f'{task}_{name}': channel for task in TASKS for name, channel in branches[task].channels.items()}
        | results,
        configuration=world.configuration,
        store=config.metadata_store,
        overrides=world.overrides,
        outcomes=outcomes,
        started=world.started,
    )
    steps = [step for branch in branches.values() for step in branch.steps]
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=root or str(config.store / 'artifacts'),
        components=[*first, *steps, *joined, report],
        enable_cache=True,
        beam_pipeline_args=list(to_flags(config.beam)),
    )


def _branch(task: str, config: Config, world: World) -> Branch:
    """From one dataset to one evaluated network."""
    seen = world.tasks[task]

    # CSV files or class folders become Examples; what cannot be read is set aside.
    ingest = FaceExampleGen(task, seen.ingest, seen.data).with_id(f'FaceExampleGen-{task}')
    examples = ingest.outputs['examples']

    # The curated schema, the statistics of each split, and where the two disagree.
    schema = PackagedSchema(task).with_id(f'ImportSchemaGen-{task}')
    statistics = FaceStatistics(examples=examples, schema=schema.outputs['schema']).with_id(f'StatisticsGen-{task}')
    anomalies = ExampleValidator(statistics=statistics.outputs['statistics'], schema=schema.outputs['schema']).with_id(
        f'ExampleValidator-{task}'
    )

    # TFX's own code decides their results, and ours those of the statistics.
    statistics.exec_properties['code'] = f'tfx {version.__version__} {fingerprint("validate")}'
    anomalies.exec_properties['code'] = f'tfx {version.__version__}'

    # Broken data, leaks and drift are written down, and stop the run.
    check = DataCheck(
        task,
        examples=examples,
        statistics=statistics.outputs['statistics'],
        anomalies=anomalies.outputs['anomalies'],
        rejects=ingest.outputs['rejects'],
        settings=seen.validate,
        data=seen.dataset,
        accepted_folder=accepted_folder(config, task),
        previous=seen.accepted,
        overrides=world.overrides,
    ).with_id(f'DataCheck-{task}')
    gate = DataGate(
        task,
        verdict=check.outputs['verdict'],
        statistics=statistics.outputs['statistics'],
        data=seen.dataset,
        accepted_folder=accepted_folder(config, task),
    ).with_id(f'DataGate-{task}')

    # Decoding, resizing and normalising, as one graph for training and serving.
    preprocessing = transform(task, examples, schema.outputs['schema'], seen.transform).with_id(f'Transform-{task}')
    preprocessing.add_upstream_node(gate)

    # Labels that networks which never saw them do not believe.
    audit = _audit(task, config, world, examples, preprocessing.outputs['transform_graph'])

    # The residual network.
    training = trainer(task, examples, preprocessing.outputs['transform_graph'], seen.train).with_id(f'Trainer-{task}')

    # What a good model bears, and what it knows.
    behaviour = BehaviourTest(task, examples, training.outputs['model'], seen.behaviour).with_id(
        f'BehaviourTest-{task}'
    )

    # What is served now is the baseline to beat.
    served = ServedModel(
        str(config.serving_folder(task)), training.outputs['model'], seen.candidate, seen.baseline
    ).with_id(f'ServedModel-{task}')
    evaluation = FaceEvaluator(
        task,
        examples=examples,
        model=training.outputs['model'],
        baseline=served.outputs['model'],
        model_run=training.outputs['model_run'],
        behaviour=behaviour.outputs['behaviour'],
        settings=seen.evaluate,
    ).with_id(f'Evaluator-{task}')

    prepared = [ingest, schema, statistics, anomalies, check, gate, preprocessing]
    steps = [*prepared, *([audit] if audit else []), training, behaviour, served, evaluation]
    channels = {
        'examples': examples,
        'rejects': ingest.outputs['rejects'],
        'statistics': statistics.outputs['statistics'],
        'anomalies': anomalies.outputs['anomalies'],
        'verdict': check.outputs['verdict'],
        **({'audit': audit.outputs['audit']} if audit else {}),
        'model': training.outputs['model'],
        'model_run': training.outputs['model_run'],
        'behaviour': behaviour.outputs['behaviour'],
        'served': served.outputs['model'],
        'evaluation': evaluation.outputs['evaluation'],
        'blessing': evaluation.outputs['blessing'],
    }
    return Branch(steps, channels)


def _audit(
    task: str, config: Config, world: World, examples: types.BaseChannel, transform_graph: types.BaseChannel
) -> LabelAudit | None:
    """The audit of the expressions' labels, where one is configured."""
    if task != faces.EXPRESSION_MODEL or not config.audit.folds:
        return None
    return LabelAudit(examples, transform_graph, world.audit).with_id(f'LabelAudit-{task}')


def _join(
    config: Config, branches: dict[str, Branch], world: World
) -> tuple[list[BaseComponent], dict[str, types.BaseChannel]]:
    """From two evaluated networks to three served models."""

    def both(name: str) -> dict[str, types.BaseChannel]:
        return {task: branches[task].channels[name] for task in TASKS}

    # Both networks behind one signature.
    joint = JointModel(both('model'), both('blessing'), both('served'))
    steps: list[BaseComponent] = [joint]
    results: dict[str, types.BaseChannel] = {}
    for name in faces.MODELS:
        tasks = [task for task in TASKS if name in (task, faces.JOINT_MODEL)]
        model = joint.outputs['model'] if name == faces.JOINT_MODEL else branches[name].channels['model']

        # Loads the candidate in another process and asks it real questions.
        check = ServingCheck(
            name,
            model,
            examples={task: branches[task].channels['examples'] for task in tasks},
            runs={task: branches[task].channels['model_run'] for task in tasks},
            settings=world.check,
        ).with_id(f'ServingCheck-{name}')

        # The serving folder, whole or not at all.
        evidence = {
            f'{task}_{key}': branches[task].channels[key]
            for task in tasks
            for key in (*EVIDENCE, *(['served'] if name == faces.JOINT_MODEL else []))
        }
        destination = world.destinations[name]
        push = Pusher(
            name,
            model=model,
            check=check.outputs['check'],
            folder=str(config.serving_folder(name)),
            settings=world.push,
            candidate=destination.candidate,
            data=destination.data,
            identity=destination.identity,
            blessing=None if name == faces.JOINT_MODEL else branches[name].channels['blessing'],
            evidence=evidence,
        ).with_id(f'Pusher-{name}')
        steps += [check, push]
        results |= {f'{name}_check': check.outputs['check'], f'{name}_pushed': push.outputs['pushed']}
    return steps, results
