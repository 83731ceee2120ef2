"""A scheduler whose clock shows another time: `serve.py FOLDER JSON`."""

import datetime
import importlib.util
import json
import sys
import time
from pathlib import Path

from pipeline.schedule.child import StopSignals
from pipeline.schedule.cron import parse
from pipeline.schedule.service import Plan, serve


def main(folder: Path, clock: str, how: str, cron: str, missed: str, **changes) -> None:
    place = importlib.util.spec_from_file_location('conftest', Path(__file__).with_name('conftest.py'))
    conftest = importlib.util.module_from_spec(place)
    sys.modules['conftest'] = conftest
    place.loader.exec_module(conftest)
    start, began = datetime.datetime.fromisoformat(clock), time.monotonic()
    job = conftest.Workplace(folder).job(how, **changes)
    with StopSignals() as signals:
        serve(
            job,
            Plan(parse(cron, 'UTC'), missed),
            signals,
            now=lambda: start + datetime.timedelta(seconds=time.monotonic() - began),
        )


if __name__ == '__main__':
    main(Path(sys.argv[1]), **json.loads(sys.argv[2]))
