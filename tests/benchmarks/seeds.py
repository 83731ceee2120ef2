"""How far the figures of whole runs spread over seeds, and whether a seed gives the same figures again.

    .venv/bin/python -m tests.benchmarks.seeds

Whole `emotion-pipeline run`s, in a folder of their own that is removed in the end. All seeds share a store, so that the
data are drawn, read and transformed once; nothing is pushed where another seed's model would be the baseline, because
each seed has a serving folder of its own. The first seed is run once more in another store, from the data on.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pipeline import config as configuration
from pipeline import history
from tests.benchmarks import processes
from tests.benchmarks.tables import table

Kpis = dict[str, dict[str, float]]
"""Headline figures by task, as the history keeps them."""

ALL, AGAIN = 'seeds', 'again'
"""Names of the two stores."""

JUDGED: Final = (0, 3)
"""Exit statuses of a run whose models were judged: pushed, or refused by a gate."""


def run(config: str, seed: int, store: str, folder: Path, settings: Sequence[str], log: Path) -> Kpis:
    """One whole run.

    Args:
        config: of `emotion-pipeline run`.
        seed: of weights, order and augmentation.
        store: name of the store in the folder.
        folder: where the run has its data, its store and its serving folder.
        settings: further `section.key=value`s.
        log: what the run prints.

    Raises:
        PartFailedError: the run came to no judgement.
    """
    overrides = [*settings, f'seed={seed}', f'runs={store}', f'serving=serving-{store}-{seed}']
    command = [str(Path(sys.executable).with_name('emotion-pipeline')), 'run', '--config', config]
    command += [word for override in overrides for word in ('--set', override)]
    for _ in processes.lines(command, log, folder, JUDGED):
        pass
    return history.read(folder / store / configuration.load(config, settings).name / 'history')[-1].kpis


def spread(runs: Mapping[int, Kpis]) -> str:
    """Mean, standard deviation (of the sample), least and most of every figure over the seeds."""
    first = next(iter(runs.values()))
    rows = []
    for task, figures in first.items():
        for name in figures:
            values = [kpis[task][name] for kpis in runs.values()]
            deviation = statistics.stdev(values) if len(values) > 1 else float('nan')
            numbers = (statistics.mean(values), deviation, min(values), max(values))
            rows.append([f'{task}: {name}', *(f'{number:.4f}' for number in numbers)])
    return table([f'{len(runs)} seeds', 'mean', 'standard deviation', 'least', 'most'], rows)


def difference(first: Kpis, again: Kpis) -> str:
    """Whether two runs of one seed agree, and where not, by how much."""
    apart = {
        f'{task}: {name}': again[task][name] - value
        for task, figures in first.items()
        for name, value in figures.items()
        if again[task][name] != value
    }
    if not apart:
        return 'gives the same figures, to the last digit'
    return 'differs: ' + ', '.join(f'{name} by {value:+.2g}' for name, value in apart.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', default='demo', help='a configuration that draws its faces (demo)')
    parser.add_argument('--seeds', type=int, default=5, help='how many, from 0 on (5)')
    parser.add_argument('--set', action='append', default=[], metavar='SECTION.KEY=VALUE', help='as of the command')
    parser.add_argument('--folder', type=Path, default=Path('benchmarks'), help='where results lie (benchmarks)')
    options = parser.parse_args()
    is_path = options.config.endswith(('.yaml', '.yml'))
    config = str(Path(options.config).absolute()) if is_path else options.config
    options.folder.mkdir(parents=True, exist_ok=True)
    runs: dict[str, dict[int, Kpis]] = {ALL: {}, AGAIN: {}}
    with tempfile.TemporaryDirectory() as name:
        for seed, store in [*((seed, ALL) for seed in range(options.seeds)), (0, AGAIN)]:
            began = time.monotonic()
            log = options.folder / 'seeds' / f'{store}-{seed}.log'
            try:
                runs[store][seed] = run(config, seed, store, Path(name), options.set, log)
            except processes.PartFailedError as error:
                sys.exit(str(error))
            found = json.dumps({'config': options.config, 'set': options.set, **runs}, indent=1)
            (options.folder / 'seeds.json').write_text(found, encoding='utf-8')
            print(f'{store}, seed {seed}: {time.monotonic() - began:.0f} s, {runs[store][seed]}', flush=True)
    print(f'\n{spread(runs[ALL])}\n')
    print(f'Seed 0, run again from the data on, {difference(runs[ALL][0], runs[AGAIN][0])}.')


if __name__ == '__main__':
    main()
