"""Says what to do about a disk that is full, or a folder that cannot be written, where a step ended for it.

TensorFlow, Beam, SQLite and Python each tell it in an error of their own; what they share are the system's words.
"""

import errno
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_FULL: Final = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), 'database or disk is full')
_REFUSED: Final = (os.strerror(errno.EROFS), os.strerror(errno.EACCES), 'attempt to write a readonly database')
_KEPT: Final = 'What was done before is kept: run it again to go on from there.'


def interruption(error: Exception, folders: Sequence[str | Path] = ()) -> str:
    """What is said of a run that ended because it could not write; an empty text where the error is another one.

    Args:
        error: what a step raised.
        folders: into which the run writes; those that are not there, or in an object store, do not count.
    """
    for line in str(error).splitlines():
        if known := next((words for words in _FULL if words in line), ''):
            return f'{_told(line, known)}. Make room on {_fullest(folders)}. {_KEPT}'
        if known := next((words for words in _REFUSED if words in line), ''):
            return f'{_told(line, known)}. Let the pipeline read and write there, or name another folder. {_KEPT}'
    return ''


def _told(line: str, known: str) -> str:
    if 'database' in known:  # the rest of the line is SQL
        return f"ML Metadata's file: {known}"
    return re.sub(r'\[Errno \d+\] ', '', line).strip().rstrip('.')


def _fullest(folders: Sequence[str | Path]) -> str:
    present = [folder for folder in folders if Path(folder).exists()]
    return f'the disk of {min(present, key=lambda folder: shutil.disk_usage(folder).free)}' if present else 'that disk'
