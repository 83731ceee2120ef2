"""`POST /v1/photo`: a photograph as it comes from the camera, answered with its faces."""

import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from components import faces
from components.faces import Which
from components.serve.limits import PHOTO_PATH
from components.serve.service import MODEL_VERSION, Service

_BODY: Final = {
    'requestBody': {
        'required': True,
        'description': 'The encoded photograph itself: JPEG, PNG, WebP, BMP, or a GIF of one picture.',
        'content': {
            kind: {'schema': {'type': 'string', 'format': 'binary'}}
            for kind in ('image/jpeg', 'image/png', 'image/webp', 'application/octet-stream')
        },
    }
}


def photo_router(service: Service) -> APIRouter:
    """The route of photographs."""
    router = APIRouter(tags=['Photographs'])

    @router.post(PHOTO_PATH, openapi_extra=_BODY)
    async def photo(request: Request, which: Annotated[Which, Query(alias='faces')] = 'largest') -> JSONResponse:
        """The faces in a photograph, turned upright as its EXIF says: box, points, probabilities."""
        encoded = await request.body()
        start = time.perf_counter()
        answer = await service.photo(encoded, which)
        content: dict[str, Any] = {
            'image': {'width': answer.content.width, 'height': answer.content.height},
            'faces': [face.to_json() for face in answer.content.faces],
            'model': {'name': faces.JOINT_MODEL, 'version': answer.version},
            'milliseconds': round(1000 * (time.perf_counter() - start), 1),
        }
        return JSONResponse(content, headers={MODEL_VERSION: str(answer.version)})

    return router
