"""The threads that decode and answer, off the event loop: ONNX Runtime, OpenCV and Pillow let the others run."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from components.serve.errors import RequestError

T = TypeVar('T')


class Pool:
    """A few threads, and a queue of bounded length before them.

    Args:
        threads: that work at once.
        queue: how many more requests may wait.
    """

    def __init__(self, threads: int, queue: int):
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix='answer')
        self._places = threads + queue
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """Requests that are worked on or wait."""
        return self._taken

    async def run(self, work: Callable[[], T]) -> T:
        """Does the work in one of the threads.

        Raises:
            RequestError: the queue is full.
        """
        with self._lock:
            if self._taken >= self._places:
                raise RequestError(503, 'The server is busy: ask again in a second.', 1)
            self._taken += 1
        future = self._executor.submit(work)
        # Not where this coroutine ends: a client that has gone does not stop a thread.
        future.add_done_callback(self._leave)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Waits for what is being worked on."""
        self._executor.shutdown()

    def _leave(self, _: Future) -> None:
        with self._lock:
            self._taken -= 1
