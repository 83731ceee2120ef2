"""Units with which systemd runs the schedule: a service that waits, or a timer that starts one run at a time."""

import os
import pwd
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.errors import StepError
from pipeline.schedule.cron import Cron
from pipeline.schedule.service import RUN_ONCE

STOP_SECONDS = 300
"""More than a run takes to write its report after SIGINT, and its hooks to be told."""


@dataclass(frozen=True)
class Unit:
    """A file for `/etc/systemd/system`."""

    name: str
    text: str


def service(pipeline: str, command: Sequence[str], folder: Path) -> list[Unit]:
    """A service that runs the scheduler in the foreground, from the start of the machine on.

    Args:
        pipeline: its name.
        command: `emotion-pipeline schedule --cron …`, the program by its absolute path.
        folder: in which the command is run.

    Raises:
        StepError: an argument holds what no unit file can say.
    """
    text = f"""[Unit]
Description=Scheduled runs of the emotion pipeline {_plain(pipeline)}
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
User={_user()}
WorkingDirectory={_plain(str(folder))}
ExecStart={_command_line(command)}
# The scheduler itself ends the run, and gives it time for its report.
KillMode=mixed
TimeoutStopSec={STOP_SECONDS}
Restart=on-failure
RestartSec=30

[Install]
WantedBy=multi-user.target
"""
    return [Unit(f'{_unit_name(pipeline)}.service', text)]


def timer(
    pipeline: str, command: Sequence[str], folder: Path, cron: Cron, zone: str = '', missed: str = ''
) -> list[Unit]:
    """A timer, and the service of one run that it starts.

    Args:
        pipeline: its name.
        command: `emotion-pipeline schedule once …`, the program by its absolute path.
        folder: in which the command is run.
        cron: the times.
        zone: the time zone of the times; the machine's when left out.
        missed: with `run-once`, systemd makes up for times at which the machine was off.

    Raises:
        StepError: an argument holds what no unit file can say.
    """
    times = '\n'.join(f'OnCalendar={line}' for line in cron.calendar(zone))
    return [
        Unit(
            f'{_unit_name(pipeline)}.service',
            f"""[Unit]
Description=A run of the emotion pipeline {_plain(pipeline)}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
User={_user()}
WorkingDirectory={_plain(str(folder))}
ExecStart={_command_line(command)}
# A refused model, refused data and a stop from outside are no faults of the unit.
SuccessExitStatus=3 4 130
KillMode=mixed
TimeoutStopSec={STOP_SECONDS}
""",
        ),
        Unit(
            f'{_unit_name(pipeline)}.timer',
            f"""[Unit]
Description=Times of the emotion pipeline {_plain(pipeline)}

[Timer]
{times}
Persistent={'true' if missed == RUN_ONCE else 'false'}
AccuracySec=1s

[Install]
WantedBy=timers.target
""",
        ),
    ]


def _command_line(command: Sequence[str]) -> str:
    """Quoted as systemd.service(5) says. In the program's own path, systemd looks for no variable."""
    program, *arguments = command
    return ' '.join([_quoted(program), *(_quoted(argument).replace('$', '$$') for argument in arguments)])


def _quoted(text: str) -> str:
    return '"' + _plain(text).replace('\\', '\\\\').replace('"', '\\"') + '"'


def _plain(text: str) -> str:
    """A value in which no specifier is expanded."""
    if not text.isprintable() or text != text.strip():
        raise StepError(f'A systemd unit cannot hold {text!r}: leave out line ends and blanks at its ends.')
    return text.replace('%', '%%')


def _unit_name(pipeline: str) -> str:
    return 'emotion-pipeline-' + re.sub(r'[^A-Za-z0-9:_.-]', '_', pipeline)


def _user() -> str:
    """Who types the command; the number where the machine has no name for it."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
