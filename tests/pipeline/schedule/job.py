"""Stands in for `emotion-pipeline run`, which takes minutes: `job.py HOW STORE`."""

import dataclasses
import datetime
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock

from pipeline import history


def main(how: str, store: Path) -> int:
    if how == 'refuses to begin':
        return 1
    if how == 'hangs before it begins':
        return hang(how, store, None)
    if how == 'comes second':
        # Another run, which no scheduler started, takes the store while this one loads.
        subprocess.Popen([sys.executable, __file__, 'takes its time', str(store)], start_new_session=True)
        while not (store / 'taken').exists():
            time.sleep(0.05)
        return 1
    with filelock.FileLock(store / 'lock').acquire(timeout=0):
        now = datetime.datetime.now(datetime.UTC)
        run = now.strftime('%Y%m%d-%H%M%S-%f')
        started = now.isoformat(timespec='seconds')
        entry = history.Entry(run, history.RUNNING, started, process=os.getpid())
        write(store, entry)
        (store / 'taken').write_text(str(os.getpid()))
        if how == 'takes its time':
            time.sleep(2)
        elif how.startswith('hangs'):
            return hang(how, store, entry)
        elif how == 'is killed':
            os.kill(os.getpid(), signal.SIGKILL)
        figures = {'expression': {'accuracy': 0.9}}
        write(store, dataclasses.replace(entry, state=how, seconds=1.0, kpis=figures, pushed={'faces': 7}))
    return {'refused': 3, 'stopped': 4, 'failed': 1}.get(how, 0)


def hang(how: str, store: Path, entry: history.Entry | None) -> int:
    """Starts a process that hangs as well, and hangs until it is interrupted, or whatever comes."""
    if how == 'hangs deaf':
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    deaf = 'import signal, time; signal.signal(2, signal.SIG_IGN); signal.signal(15, signal.SIG_IGN); time.sleep(600)'
    worker = subprocess.Popen([sys.executable, '-c', deaf])
    staged = store / '.workers'
    staged.write_text(f'{os.getpid()} {worker.pid}')
    staged.replace(store / 'workers')
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        if entry:
            write(store, dataclasses.replace(entry, state='interrupted', seconds=1.0))
    return 130


def write(store: Path, entry: history.Entry) -> None:
    history.write(store / 'history' / entry.run, entry)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
