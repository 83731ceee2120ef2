"""Loads a SavedModel in a process of its own and asks it what lies in a folder.

`python -m components.check.ask MODEL QUESTIONS ANSWERS`: the folder QUESTIONS holds `batches.json`, a list of
`{"signature": …, "files": […]}`; ANSWERS receives, for each batch, `<number>.npz` with the outputs by name, and
`latency.json` with the seconds that answers to one image took.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

LATENCY_CALLS = 15


def main(model: Path, questions: Path, answers: Path) -> None:
    signatures = tf.saved_model.load(str(model)).signatures
    batches = json.loads((questions / 'batches.json').read_text(encoding='utf-8'))
    seconds: dict[str, float] = {}
    for number, batch in enumerate(batches):
        signature = signatures[batch['signature']]
        rows = [(questions / name).read_bytes() for name in batch['files']]
        outputs = _ask(signature, rows)
        np.savez(answers / f'{number}.npz', **{name: value.numpy() for name, value in outputs.items()})
        if batch['signature'] not in seconds:
            seconds[batch['signature']] = _median_latency(signature, rows[0])
    (answers / 'latency.json').write_text(json.dumps(seconds), encoding='utf-8')


def _ask(signature, rows: list[bytes]) -> dict[str, tf.Tensor]:
    (name,) = signature.structured_input_signature[1]
    return signature(**{name: tf.constant(rows)})


def _median_latency(signature, row: bytes) -> float:
    durations = []
    for _ in range(LATENCY_CALLS):
        began = time.monotonic()
        _ask(signature, [row])
        durations.append(time.monotonic() - began)
    return float(np.median(durations))


if __name__ == '__main__':
    main(*(Path(argument) for argument in sys.argv[1:4]))
