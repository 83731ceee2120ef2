"""Says what to do about a disk that is full, or a folder that cannot be written, where a step ended for it.

TensorFlow, Beam, SQLite and Python each tell it in an error of their own; what they share are the system's words.
"""

import errno
import os
import re
from typing import Final

_FULL: Final = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), 'database or disk is full')
_REFUSED: Final = (os.strerror(errno.EROFS), os.strerror(errno.EACCES), 'attempt to write a readonly database')

_ADVICE: Final = {
    _FULL: 'Make room on that disk.',
    _REFUSED: 'Let the pipeline write there, or name another folder.',
}
_KEPT: Final = 'What was done before is kept: run it again to go on from there.'


def interruption(error: Exception) -> str:
    """What is said of a run that ended because it could not write; an empty text where the error is another one."""
    for line in str(error).splitlines():
        for words, advice in _ADVICE.items():
            if any(known in line for known in words):
                told = re.sub(r'\[Errno \d+\] ', '', line).strip().rstrip('.')
                return f'{told}. {advice} {_KEPT}'
    return ''
