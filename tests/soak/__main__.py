"""A soak: many runs on built-in faces, each disturbed at random, and each followed by one that is left in peace.

    .venv/bin/python -m tests.soak --runs 50

After every run the metadata and the serving folder are checked (`checks.py`); the run in peace has to succeed. One line
for each pair goes to `benchmarks/soak/results.jsonl`, and a table in Markdown is printed at the end. A soak that was
stopped goes on with the runs that are missing. It works on a file system of its own in memory, in a mount namespace:
`unshare` and `mount` (Debian: util-linux) are needed, and `libfaketime` for the clock, which is left out without it.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data.publish import FILES
from tests.soak.checks import violations
from tests.soak.faults import FAULTS, Disturbance, Scene, find_faketime

CONFIGURATION = Path(__file__).with_name('soak.yaml')
INSIDE = 'EMOTION_PIPELINE_SOAK_FOLDER'
LIMIT = 600
"""Seconds after which a run counts as hung."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', type=int, default=50, help='disturbed runs')
    parser.add_argument('--seed', type=int, default=0, help='of what happens when')
    parser.add_argument('--results', type=Path, default=Path('benchmarks/soak'))
    parser.add_argument('--gigabytes', type=int, default=6, help='of the file system in memory')
    parser.add_argument('--faketime', default=find_faketime(), help='path of libfaketimeMT.so.1')
    options = parser.parse_args()
    if INSIDE not in os.environ:
        _enter_a_namespace()
    folder = Path(os.environ[INSIDE])
    subprocess.run(
        ['mount', '--types', 'tmpfs', '--options', f'size={options.gigabytes}g', 'tmpfs', folder], check=True
    )
    _soak(folder, options)


def _enter_a_namespace() -> None:
    """Starts this program again where it may mount; does not return."""
    as_root = [] if os.geteuid() == 0 else ['--user', '--map-root-user']
    with tempfile.TemporaryDirectory(prefix='soak-') as folder:
        command = ['unshare', '--mount', *as_root, sys.executable, '-W', 'ignore', '-m', 'tests.soak', *sys.argv[1:]]
        sys.exit(subprocess.run(command, env={**os.environ, INSIDE: folder}).returncode)


def _soak(folder: Path, options: argparse.Namespace) -> None:
    for variant in range(2):
        (folder / 'data' / str(variant)).mkdir(parents=True)
        FILES['expressions'](folder / 'data' / str(variant) / 'expressions.csv.gz', 500, variant)
        FILES['keypoints'](folder / 'data' / str(variant) / 'keypoints.csv.gz', 350, variant)
    first = _run(folder, 0, Disturbance('nothing'))
    if first['exit'] != 0:
        sys.exit(f'The first run, undisturbed, ended with {first["exit"]}: {first["output"][-500:]}')

    options.results.mkdir(parents=True, exist_ok=True)
    results = options.results / 'results.jsonl'
    done = _read(results)
    for number in range(len(done) + 1, options.runs + 1):
        pair = _pair(folder, number, first['steps'], options)
        with results.open('a') as lines:
            lines.write(json.dumps(pair) + '\n')
        print(f'{number:3d} {pair["fault"]}: {pair["told"]} -> {pair["exit"]}; {pair["verdict"]}', flush=True)
    _tell(_read(results))


def _pair(folder: Path, number: int, steps: int, options: argparse.Namespace) -> dict[str, Any]:
    """A disturbed run and one in peace, both with work to do: other settings of the ingest and other weights."""
    chance = random.Random(f'{options.seed}-{number}')
    name = _choose(chance, bool(options.faketime))
    scene = Scene(folder, folder / 'data' / str(number % 2), steps, chance, options.faketime)
    with FAULTS[name][0](scene) as disturbance:
        disturbed = _run(folder, number, disturbance)
    broken = violations(folder / 'runs' / 'soak', folder / 'serving') if disturbance.leaves is None else []
    if disturbance.leaves is not None:
        shutil.rmtree(disturbance.leaves)
    after = _run(folder, number, Disturbance('nothing'))
    broken += violations(folder / 'runs' / 'soak', folder / 'serving')
    wrong = [*broken, *_faults_of_telling(disturbed), *_faults_of_telling(after)]
    if after['exit'] not in (0, 3):
        wrong.append(f'the run in peace ended with {after["exit"]}')
    return {
        'run': number,
        'fault': name,
        'told': disturbance.told,
        'exit': disturbed['exit'],
        'line': disturbed['line'],
        'after': after['exit'],
        'after_line': after['line'],
        'seconds': [disturbed['seconds'], after['seconds']],
        'wrong': wrong,
        'verdict': '; '.join(wrong) or 'sound',
        'output': [disturbed['output'], after['output']] if wrong else [],
    }


def _choose(chance: random.Random, has_faketime: bool) -> str:
    names = [name for name in FAULTS if name != 'clock' or has_faketime]
    return chance.choices(names, weights=[FAULTS[name][1] for name in names])[0]


def _run(folder: Path, number: int, disturbance: Disturbance) -> dict[str, Any]:
    data = f'data/{number % 2}'
    command = [
        str(Path(sys.executable).with_name('emotion-pipeline')), 'run', '--config', str(CONFIGURATION),
        '--set', f'seed={number}',
        '--set', f'ingest.expression.maximum_reject_share={0.5 + number / 1000}',
        '--set', f'ingest.keypoints.maximum_reject_share={0.5 + number / 1000}',
        '--set', f'ingest.expression.files=[{data}/expressions.csv.gz]',
        '--set', f'ingest.keypoints.files=[{data}/keypoints.csv.gz]',
    ]  # fmt: skip
    began = time.monotonic()
    with tempfile.NamedTemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **disturbance.environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _disturb(process, Path(output.name), disturbance)
        try:
            process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        text = Path(output.name).read_text(errors='replace')
    return {
        'exit': process.returncode,
        'steps': _steps(text),
        'seconds': round(time.monotonic() - began, 1),
        'line': _line(text),
        'output': text[-4000:],
        'killed': disturbance.kills,
    }


def _disturb(process: subprocess.Popen, output: Path, disturbance: Disturbance) -> None:
    """Waits for the moment, and does the harm unless the run has ended before."""
    if not (disturbance.kills or disturbance.act):
        return
    while disturbance.moment.steps > _steps(output.read_text(errors='replace')):
        if process.poll() is not None:
            return
        time.sleep(0.1)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(disturbance.moment.seconds)
        return
    if disturbance.act:
        disturbance.act()
    if disturbance.kills:
        os.killpg(process.pid, signal.SIGKILL)


def _steps(text: str) -> int:
    """How many steps have ended by what a run has printed."""
    return len(re.findall(r'^ +[✓·✗].*(?: s|cache)$', text, re.MULTILINE))


def _line(text: str) -> str:
    """What the run said of its end."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ended = [place for place, line in enumerate(lines) if line.startswith(('The run ended', 'Error', 'Nothing has'))]
    return ' '.join(lines[ended[-1] : ended[-1] + 2]) if ended else ' '.join(lines[-1:])


def _faults_of_telling(run: dict[str, Any]) -> list[str]:
    """A run may fail; it may not hang, nor show its inside."""
    wrong = []
    if 'Traceback' in run['output']:
        wrong.append('a stack trace was shown')
    if run['exit'] < 0 and not run['killed']:
        wrong.append(f'the run died of signal {-run["exit"]} or hung')
    return wrong


def _read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def _tell(pairs: Iterable[dict[str, Any]]) -> None:
    pairs = list(pairs)
    print('\n| fault | runs | how they ended | sound afterwards | next run passed |\n|---|---|---|---|---|')
    for name in FAULTS:
        mine = [pair for pair in pairs if pair['fault'] == name]
        if mine:
            ends = Counter(pair['exit'] for pair in mine)
            endings = ', '.join(f'{count} with {end}' for end, count in sorted(ends.items()))
            sound = sum(not pair['wrong'] for pair in mine)
            passed = sum(pair['after'] in (0, 3) for pair in mine)
            print(f'| {name} | {len(mine)} | {endings} | {sound} | {passed} |')


if __name__ == '__main__':
    main()
