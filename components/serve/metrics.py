"""What Prometheus is told, beside what kserve and Python tell it. No label's value comes from a client."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from components import faces
from components.inference.images import to_grey
from components.serve.errors import RequestError

PREDICT: Final = 'predict'
INFER: Final = 'infer'
GRPC: Final = 'grpc'
PHOTO: Final = 'photo'

UNKNOWN: Final = 'unknown'
"""Stands for a model that does not exist, and for the version of a request that none answered."""

_SECONDS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_PIXELS: Final = tuple(float(side * side) for side in (48, 96, 192, 384, 768, 1536, 3072, 6144))
_GREY_LEVELS: Final = tuple(float(level) for level in range(16, 256, 16))
_SAMPLE: Final = 256  # pixels of a side that are looked at for the mean grey


@dataclass
class Record:
    """What becomes known of a request while it is answered."""

    version: str = UNKNOWN


class Metrics:
    """Counters and histograms of one server.

    Args:
        registry: of Prometheus, which tells them.
    """

    def __init__(self, registry: CollectorRegistry):
        self._latency = Histogram(
            'emotion_request_seconds',
            'From the whole request to its answer, the wait in the queue included.',
            ['model', 'endpoint'],
            buckets=_SECONDS,
            registry=registry,
        )
        self._requests = Counter(
            'emotion_requests', 'Requests by the status of HTTP.', ['model', 'version', 'status'], registry=registry
        )
        self._answers = Counter(
            'emotion_answers', 'Faces by the most probable expression.', ['model', 'version', 'expression'],
            registry=registry,
        )  # fmt: skip
        self._brightness = Histogram(
            'emotion_image_brightness', 'Mean grey of an image, 0 to 255.', ['model'],
            buckets=_GREY_LEVELS, registry=registry,
        )  # fmt: skip
        self._pixels = Histogram(
            'emotion_image_pixels', 'Width times height of an image.', ['model'], buckets=_PIXELS, registry=registry
        )
        self._loaded = Gauge(
            'emotion_loaded_version', 'The version that answers; 0 for none.', ['model'], registry=registry
        )
        self._failures = Counter('emotion_load_failures', 'Versions that did not load.', ['model'], registry=registry)
        self._in_flight = Gauge('emotion_requests_in_flight', 'Requests that are worked on or wait.', registry=registry)
        for model in faces.MODELS:
            self._loaded.labels(model).set(0)
            self._failures.labels(model)

    @contextmanager
    def request(self, model: str, endpoint: str) -> Iterator[Record]:
        """Times and counts a request, however it ends."""
        label = model if model in faces.MODELS else UNKNOWN
        record, start, status = Record(), time.perf_counter(), 500
        try:
            yield record
            status = 200
        except RequestError as refusal:
            status = refusal.status
            raise
        finally:
            self._latency.labels(label, endpoint).observe(time.perf_counter() - start)
            self._requests.labels(label, record.version, str(status)).inc()

    def images(self, model: str, images: list[np.ndarray]) -> None:
        """Images that were decoded, uint8 `[height, width, 3]` each."""
        for image in images:
            height, width = image.shape[:2]
            sample = image[:: 1 + height // _SAMPLE, :: 1 + width // _SAMPLE]
            self._brightness.labels(model).observe(float(to_grey(sample).mean()))
            self._pixels.labels(model).observe(height * width)

    def answers(self, model: str, version: int, probabilities: np.ndarray) -> None:
        """Answers about faces, float32 `[n, 5]`."""
        for index in probabilities.argmax(axis=-1):
            self._answers.labels(model, str(version), faces.EXPRESSIONS[index]).inc()

    def in_flight(self, count: Callable[[], int]) -> None:
        """Where to ask how many requests are worked on or wait for a thread."""
        self._in_flight.set_function(count)

    def loaded(self, model: str, version: int) -> None:
        """A version answers from now on."""
        self._loaded.labels(model).set(version)

    def load_failed(self, model: str) -> None:
        """A version did not load."""
        self._failures.labels(model).inc()
