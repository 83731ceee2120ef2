"""Puts the questions to a candidate in another process and judges its answers."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components import faces
from components.check.questions import Questions, disguise
from components.inference.network import OUTPUTS
from components.source import ROOT

SHAPES = {faces.PROBABILITIES: (len(faces.EXPRESSIONS),), faces.KEYPOINTS_OUTPUT: (len(faces.KEYPOINTS), 2)}
"""Of one answer."""


@dataclass(frozen=True)
class Batch:
    """Rows that are sent in one request, and what is expected of the answer.

    Attributes:
        signature: the signature that is asked.
        rows: encoded images or serialized Examples.
        task: whose predictions these are.
        expected: the trainer's predictions, or None where only shape and range are known (a resized image).
    """

    signature: str
    rows: list[bytes]
    task: str
    expected: np.ndarray | None


def batches(questions: Mapping[str, Questions], signatures: tuple[str, ...]) -> list[Batch]:
    """Everything that a candidate with these signatures is asked."""
    asked = []
    for task, known in questions.items():
        if faces.SERVING_SIGNATURE in signatures:
            asked.append(Batch(faces.SERVING_SIGNATURE, known.images, task, known.predictions))
            asked.append(Batch(faces.SERVING_SIGNATURE, known.images[:1], task, known.predictions[:1]))
            disguised = [image for image, _ in disguise(known.images[0])]
            asked.append(Batch(faces.SERVING_SIGNATURE, disguised, task, None))
        if faces.EXAMPLES_SIGNATURE in signatures:
            asked.append(Batch(faces.EXAMPLES_SIGNATURE, known.examples, task, known.predictions))
    return asked


def ask(model: Path, asked: list[Batch], folder: Path, timeout: float) -> tuple[list[dict[str, np.ndarray]], float]:
    """Answers of the model in a fresh process, and its slowest signature's median latency in seconds.

    Args:
        model: the SavedModel.
        asked: the batches.
        folder: an empty folder for what goes to and fro.
        timeout: seconds.

    Raises:
        RuntimeError: the process failed or did not answer in time; the message says how.
    """
    (folder / 'answers').mkdir(parents=True)
    listing = []
    for number, batch in enumerate(asked):
        names = [f'{number}-{row}' for row in range(len(batch.rows))]
        for name, row in zip(names, batch.rows, strict=True):
            (folder / name).write_bytes(row)
        listing.append({'signature': batch.signature, 'files': names})
    (folder / 'batches.json').write_text(json.dumps(listing), encoding='utf-8')

    command = [sys.executable, '-m', 'components.check.ask', str(model), str(folder), str(folder / 'answers')]
    try:
        process = subprocess.run(  # noqa: S603 - no shell, and our own module
            command, capture_output=True, text=True, timeout=timeout, cwd=ROOT.parent, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f'no answer within {timeout:g} s') from error
    if process.returncode:
        last = process.stderr.strip().splitlines()[-1:] or ['no message']
        raise RuntimeError(f'the process that loads it ended with status {process.returncode}: {last[0]}')
    answers = []
    for number in range(len(asked)):
        with np.load(folder / 'answers' / f'{number}.npz', allow_pickle=False) as archive:
            answers.append({name: archive[name] for name in (OUTPUTS[asked[number].task],) if name in archive})
    latencies = json.loads((folder / 'answers' / 'latency.json').read_text(encoding='utf-8'))
    return answers, max(latencies.values())


def judge(asked: list[Batch], answers: list[dict[str, np.ndarray]], tolerance: float) -> Iterator[str]:
    """What is wrong with the answers, one line each."""
    for batch, answer in zip(asked, answers, strict=True):
        where = f'{batch.signature}, {len(batch.rows)} {batch.task} row(s)'
        output = OUTPUTS[batch.task]
        if output not in answer:
            yield f'{where}: no output is called {output}'
            continue
        values = answer[output]
        shape = (len(batch.rows), *SHAPES[output])
        if values.shape != shape:
            yield f'{where}: {output} has the shape {values.shape} instead of {shape}'
        elif not np.isfinite(values).all():
            yield f'{where}: {output} holds values that are not finite'
        elif output == faces.PROBABILITIES and not _are_probabilities(values):
            yield f'{where}: {output} do not lie in 0..1 with a sum of 1'
        elif batch.expected is not None:
            difference = float(np.abs(values - batch.expected).max())
            if difference > tolerance:
                yield f"{where}: {output} differ by {difference:.4g} from the trainer's (tolerance {tolerance:g})"


def _are_probabilities(values: np.ndarray) -> bool:
    return bool((values >= 0).all() and (values <= 1).all() and np.allclose(values.sum(axis=1), 1, atol=1e-3))
