"""One request of either kind, from encoded images to answers: admitted, decoded within bounds, answered, counted."""

import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
from PIL import Image

from components import faces
from components.faces import Which
from components.inference.detect import FaceDetector
from components.inference.images import ImageError, decode
from components.inference.network import ServedVersion
from components.inference.photo import FaceAnswer, read_photo
from components.serve import metrics as measured
from components.serve.errors import RequestError
from components.serve.limits import Limits
from components.serve.metrics import Metrics
from components.serve.pool import Pool
from components.serve.repository import Repository

MODEL_VERSION: Final = 'Model-Version'
"""The header that names the version which answered."""

T = TypeVar('T')
Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Answer(Generic[T]):
    """An answer, and the version that gave it."""

    version: int
    content: T


@dataclass(frozen=True)
class PhotoAnswer:
    """The faces of a photograph, with its size in pixels once it is upright."""

    width: int
    height: int
    faces: list[FaceAnswer]


class Service:
    """Answers requests.

    Args:
        repository: of the models.
        pool: where the work is done.
        limits: of a request.
        metrics: are told what was asked and answered.
    """

    def __init__(self, repository: Repository, pool: Pool, limits: Limits, metrics: Metrics):
        self.repository = repository
        self.limits = limits
        self._pool = pool
        self._metrics = metrics
        self._own = threading.local()

    def warm_up(self) -> None:
        """Takes the first request's delays, and finds out whether the face detector is there.

        Raises:
            StepError: it is not.
        """
        for form in ('JPEG', 'PNG'):
            buffer = io.BytesIO()
            Image.new('RGB', (96, 96)).save(buffer, form)
            self._finder().find(decode(buffer.getvalue()))

    async def predict(
        self,
        model: str,
        version: int | None,
        endpoint: str,
        read: Callable[[], Sequence[bytes]],
        write: Callable[[Outputs], T],
    ) -> Answer[T]:
        """Answers a batch of encoded images.

        Args:
            model: its name.
            version: the one asked for, or None.
            endpoint: `predict`, `infer` or `grpc`.
            read: gives the encoded images; run in the pool.
            write: makes the answer of the model's outputs; run in the pool.

        Raises:
            RequestError: there is no such model or version, the images cannot be read, they are too many or too
                large, or too many requests are waiting.
        """
        with self._metrics.request(model, endpoint) as record:
            served = self.repository.find(model, version)
            record.version = str(served.version)
            return Answer(served.version, await self._pool.run(lambda: write(self._predict(served, read()))))

    async def photo(self, encoded: bytes, which: Which) -> Answer[PhotoAnswer]:
        """Answers about the faces in an encoded photograph.

        Raises:
            RequestError: it cannot be read or is too large, `faces` has no version that answers, or too many requests
                are waiting.
        """
        with self._metrics.request(faces.JOINT_MODEL, measured.PHOTO) as record:
            served = self.repository.served(faces.JOINT_MODEL)
            if served is None:
                raise RequestError(503, f'No version of {faces.JOINT_MODEL} is loaded: push one, and ask again.', 5)
            record.version = str(served.version)
            return Answer(served.version, await self._pool.run(lambda: self._photo(served, encoded, which)))

    def _predict(self, served: ServedVersion, encoded: Sequence[bytes]) -> Outputs:
        if not 0 < len(encoded) <= self.limits.batch:
            raise RequestError(400, f'{len(encoded)} images are sent: send 1 to {self.limits.batch} in one request.')
        images = self._decode(encoded)
        self._metrics.images(served.model, images)
        answers = served.predict(images)
        if faces.PROBABILITIES in answers:
            self._metrics.answers(served.model, served.version, answers[faces.PROBABILITIES])
        return answers

    def _decode(self, encoded: Sequence[bytes]) -> list[np.ndarray]:
        images: list[np.ndarray] = []
        left = self.limits.pixels
        for index, image in enumerate(encoded):
            try:
                images.append(decode(image, self.limits.pixels))
            except ImageError as error:
                raise RequestError(400, str(error) if len(encoded) == 1 else f'Image {index}: {error}') from error
            left -= images[-1].shape[0] * images[-1].shape[1]
            if left < 0:
                most = f'{self.limits.pixels / 1e6:g} megapixels'
                raise RequestError(400, f'The images have more than {most} together: send fewer at once.')
        return images

    def _photo(self, served: ServedVersion, encoded: bytes, which: Which) -> PhotoAnswer:
        try:
            photo = decode(encoded, self.limits.pixels, upright=True)
        except ImageError as error:
            raise RequestError(400, str(error)) from error
        self._metrics.images(served.model, [photo])
        found = read_photo(photo, served, self._finder(), which)
        if found:
            self._metrics.answers(served.model, served.version, np.stack([face.probabilities for face in found]))
        return PhotoAnswer(photo.shape[1], photo.shape[0], found)

    def _finder(self) -> FaceDetector:
        """This thread's own: detectors that are shared take turns."""
        if not hasattr(self._own, 'finder'):
            self._own.finder = FaceDetector()
        return self._own.finder
