"""What a run leaves behind, as its report needs it: plain values and the folders of the artifacts."""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.ingest.rejects import RejectedPicture, Summary
from components.settings import EvaluateSettings

State = Literal['pushed', 'refused', 'stopped', 'failed', 'interrupted']


@dataclass(frozen=True)
class Step:
    """One node of the graph.

    Attributes:
        node: its id.
        state: `complete`, `cached`, `failed` or `not run`.
        seconds: how long it took, where it ran.
    """

    node: str
    state: str
    seconds: float | None = None


@dataclass(frozen=True)
class Branch:
    """The artifacts' folders of one task, each None where the run ended before the step that makes it.

    Attributes:
        task: `faces.EXPRESSION_MODEL` or `faces.KEYPOINT_MODEL`.
        settings: the gates that the model had to pass.
    """

    task: str
    settings: EvaluateSettings
    examples: Path | None = None
    rejects: Path | None = None
    statistics: Path | None = None
    anomalies: Path | None = None
    verdict: Path | None = None
    audit: Path | None = None
    model_run: Path | None = None
    behaviour: Path | None = None
    evaluation: Path | None = None
    blessing: Path | None = None


@dataclass(frozen=True)
class Check:
    """What ServingCheck found of one candidate; `latency` is the median answer to one image, in seconds."""

    model: str
    passed: bool
    findings: tuple[str, ...] = ()
    latency: float | None = None


@dataclass(frozen=True)
class Pushed:
    """What became of one candidate; `version` is 0 where it was not pushed, and `note` says why.

    `run` is the one that pushed the version, which an earlier run may have done. `card` is its model card, in Markdown.
    """

    model: str
    version: int
    folder: str = ''
    note: str = ''
    run: str = ''
    card: str = ''


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes:
        run: its id.
        pipeline: the pipeline's name.
        state: how it ended: a model was pushed, every candidate was refused, the data stopped it, a step failed, or a
            person interrupted it.
        message: one line, where there is something to say about that end.
        started: when, with a time zone.
        seconds: how long it took.
        commit: of the code that ran.
        steps: every node, in the order of the graph.
        branches: one a task.
        checks: what ServingCheck found.
        pushed: one a model.
        overrides: the gates and settings that were overridden for this run.
        configuration: the effective configuration, as YAML.
        stop_summary: of the rejects, where ingest stopped the run before it could leave an artifact.
        stop_pictures: likewise.
    """

    run: str
    pipeline: str
    state: State
    message: str
    started: datetime.datetime
    seconds: float
    commit: str
    steps: tuple[Step, ...] = ()
    branches: tuple[Branch, ...] = ()
    checks: tuple[Check, ...] = ()
    pushed: tuple[Pushed, ...] = ()
    overrides: tuple[str, ...] = ()
    configuration: str = ''
    stop_summary: Summary | None = None
    stop_pictures: tuple[RejectedPicture, ...] = ()
