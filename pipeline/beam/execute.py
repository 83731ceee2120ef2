"""Runs the steps that use Beam on the configured engine, and says in one line what became of a job that failed."""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
from google.protobuf import message
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.portable import data_types
from tfx.orchestration.portable.beam_executor_operator import BeamExecutorOperator
from tfx.proto.orchestration import executable_spec_pb2, execution_result_pb2, placeholder_pb2

from components.errors import StepError
from pipeline.beam.settings import BeamSettings, endpoint, to_flags

_FAILED: Final = re.compile(r'Pipeline \S+ failed in state \w+: (.*)', re.DOTALL)
_LOST: Final = ('Channel closed prematurely', 'Socket closed', 'Connection reset', 'SDK harness')
"""What job services say when a worker process is gone."""

_READER: Final = 'wait_until_finish_read'
_EXCEPTION: Final = re.compile(r'[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b')
_LONGEST: Final = 300


def executor_operators(settings: BeamSettings) -> dict[Any, Any]:
    """What launches the executors of TFX, by the kind of specification: of Beam's, one on the configured engine."""

    class Operator(BeamExecutorOperator):
        def __init__(self, executor_spec: message.Message, platform_config: message.Message | None = None):
            super().__init__(executor_spec, platform_config)
            self.beam_pipeline_args = [
                placeholder_pb2.PlaceholderExpression(value=metadata_store_pb2.Value(string_value=flag))
                for flag in to_flags(settings)
            ]

        def run_executor(
            self, execution_info: data_types.ExecutionInfo, make_beam_pipeline_fn: Any = None
        ) -> execution_result_pb2.ExecutorOutput:
            name = execution_info.pipeline_node.node_info.id if execution_info.pipeline_node else 'A step'
            with failures_in_one_line(name, settings):
                return super().run_executor(execution_info, make_beam_pipeline_fn)

    return {executable_spec_pb2.BeamExecutableSpec: Operator}


@contextmanager
def failures_in_one_line(what: str, settings: BeamSettings) -> Iterator[None]:
    """Turns what Beam raises when a job of another process fails into a StepError; everything else passes.

    Args:
        what: whose job it is, for the message.
        settings: the engine.
    """
    if settings.runner == 'direct':
        yield
        return
    try:
        with _threads_to_the_log():
            yield
    except grpc.RpcError as error:
        raise StepError(f'{what}: {_connection(error, settings)}') from error
    except RuntimeError as error:
        failed = _FAILED.match(str(error))
        if failed is None:
            raise
        raise StepError(f'{what}: {_failure(failed.group(1), settings)}') from error


@contextmanager
def _threads_to_the_log() -> Iterator[None]:
    """Beam reads a job's messages in a thread, whose end with the connection would be a stack trace on the terminal."""

    def log(raised: threading.ExceptHookArgs) -> None:
        logging.getLogger(__name__).info('A thread of Beam ended: %s', raised.exc_value)

    before, threading.excepthook = threading.excepthook, log
    try:
        yield
    finally:
        for thread in threading.enumerate():
            if thread.name == _READER:
                thread.join(10)
        threading.excepthook = before


def _connection(error: grpc.RpcError, settings: BeamSettings) -> str:
    """An RPC error is none of a job's: the job service itself did not answer, or not in time."""
    code = error.code() if isinstance(error, grpc.Call) else None
    if code == grpc.StatusCode.DEADLINE_EXCEEDED and settings.runner == 'portable':
        return (
            f'the Beam job has not ended after {settings.timeout} s. Look whether a worker died (the logs of the job '
            'service and of the workers tell), raise beam.timeout where it needs longer, and run it again.'
        )
    where = endpoint(settings) or 'that was started for it'
    return (
        f'the job service {where} does not answer any more ({code.name if code else error}). '
        'Start it again, then run this again: what is complete comes from the cache.'
    )


def _failure(text: str, settings: BeamSettings) -> str:
    reason = last_line(text)
    if any(sign in text for sign in _LOST):
        return (
            f'a worker of the Beam job died ({reason}). Its own log, or the kernel where memory ran out, says why; '
            'run it again to go on from here.'
        )
    return f"the Beam job failed on {settings.runner}: {reason} (the whole story is in the log, and in the workers')"


def last_line(text: str) -> str:
    """The line of a stack trace, of Python or Java, that says what happened."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    named = [line for line in lines if _EXCEPTION.match(line)]
    return (named or lines or ['no reason is given'])[-1][:_LONGEST]
