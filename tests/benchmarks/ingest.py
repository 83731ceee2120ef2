"""Rows a second and peak memory of FaceExampleGen, beside those of a plain pandas reader.

    .venv/bin/python tests/benchmarks/ingest.py ../shared/datasets/icml_face_data.csv.gz --copies 10

Each row of the table is measured in a process of its own. Ingest does the whole step: it reads twice, checks, finds
repeated images, encodes PNG and writes compressed Examples. The rival reads the table whole with `pandas.read_csv` and
its pixels with `numpy.fromstring`, and does nothing more. *Overhead* is the memory above that of the imports.
"""

import argparse
import gzip
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def measure_ingest(pattern: str, folder: Path) -> dict[str, float]:
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import standard_artifacts

    from components import faces, settings
    from components.ingest.artifacts import Rejects
    from components.ingest.executor import Executor
    from components.ingest.rejects import read_summary

    examples, rejects = standard_artifacts.Examples(), Rejects()
    examples.uri, rejects.uri = str(folder / 'examples'), str(folder / 'rejects')
    ingest = settings.IngestSettings(files=(pattern,), split='usage')
    properties = {'task': faces.EXPRESSION_MODEL, 'settings': settings.to_json(ingest), 'code': '', 'data': ''}
    beam = ['--direct_running_mode=in_memory', '--direct_num_workers=1', '--sdk_container_image=none']
    executor = Executor(BaseBeamExecutor.Context(beam_pipeline_args=beam))
    before, wall, processor = _peak(), time.perf_counter(), time.process_time()
    executor.Do({}, {'examples': [examples], 'rejects': [rejects]}, properties)
    return _figures(read_summary(folder / 'rejects').rows, before, wall, processor)


def measure_pandas(pattern: str, folder: Path) -> dict[str, float]:
    import numpy as np
    import pandas as pd

    rows, before, wall, processor = 0, _peak(), time.perf_counter(), time.process_time()
    table = pd.concat([pd.read_csv(path) for path in sorted(Path(pattern).parent.glob(Path(pattern).name))])
    for pixels in table[' pixels']:
        rows += np.fromstring(pixels, dtype=np.uint8, sep=' ').reshape(48, 48).shape == (48, 48)
    return _figures(rows, before, wall, processor)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _figures(rows: int, before: float, wall: float, processor: float) -> dict[str, float]:
    return {
        'rows': rows,
        'seconds': time.perf_counter() - wall,
        'processor': time.process_time() - processor,
        'peak': _peak(),
        'overhead': _peak() - before,
    }


WAYS = {'ingest': measure_ingest, 'pandas': measure_pandas}


def write_copy(source: Path, target: Path, first_pixel: int) -> None:
    """Copies the file with another first pixel, or all copies would show the same images and fit in less memory."""
    open_source = gzip.open if source.suffix == '.gz' else open
    with open_source(source, 'rb') as lines, gzip.open(target, 'wb', compresslevel=1) as copy:
        copy.writelines(re.sub(rb',\d+ ', b',%d ' % first_pixel, line, count=1) for line in lines)


def in_a_process_of_its_own(way: str, pattern: str) -> dict[str, float]:
    command = [sys.executable, '-W', 'ignore', __file__, pattern, '--way', way]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return json.loads(answer.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', help='an expression file with the column Usage, .csv or .csv.gz')
    parser.add_argument('--copies', type=int, default=10, help='also read this many copies of it at once; up to 255')
    parser.add_argument('--way', choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.way:
            print(json.dumps(WAYS[options.way](options.file, folder)))
            return
        print(f'{"":8}{"rows":>9}{"rows/s":>9}{"rows/s CPU":>12}{"peak MB":>9}{"overhead MB":>13}{"bytes/row":>11}')
        for copies in (1, options.copies):
            for copy in range(copies):
                write_copy(Path(options.file), folder / f'copy-{copy:03}.csv.gz', copy)
            for way in WAYS:
                got = in_a_process_of_its_own(way, f'{folder}/copy-*.csv.gz')
                print(
                    f'{way:8}{got["rows"]:>9,.0f}{got["rows"] / got["seconds"]:>9,.0f}'
                    f'{got["rows"] / got["processor"]:>12,.0f}{got["peak"]:>9,.0f}{got["overhead"]:>13,.0f}'
                    f'{got["overhead"] * 2**20 / got["rows"]:>11,.0f}',
                    flush=True,
                )


if __name__ == '__main__':
    main()
