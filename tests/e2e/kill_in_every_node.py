"""Runs the pipeline again and again, killed (SIGKILL) inside the next node each time, until one run gets through.

`python kill_in_every_node.py CONFIG DURATIONS`: DURATIONS is JSON, seconds by node of an undisturbed run; a node is
killed after half of its own. TFX is imported once; every run is a fork, which dies as a whole process does.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from pipeline import config, local


def main(name: str, durations: dict[str, float]) -> None:
    settings = config.load(name)
    for number, node in enumerate(durations):
        status = _run(settings, f'killed-{number:02d}', node, durations[node] / 2)
        print(json.dumps({'node': node, 'killed': os.WIFSIGNALED(status)}), flush=True)
    status = _run(settings, 'last', '', 0.0)
    print(json.dumps({'node': '', 'killed': os.WIFSIGNALED(status), 'exit': os.waitstatus_to_exitcode(status)}))


def _run(settings: config.Config, run: str, victim: str, delay: float) -> int:
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]

    def watch(node: str, state: str, seconds: float) -> None:
        if node == victim and state == 'running':
            timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()

    with local.exclusive(settings):
        result = local.run(settings, run, (), watch)
    os._exit(0 if result.entry.state in ('pushed', 'unchanged') else 1)


if __name__ == '__main__':
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
