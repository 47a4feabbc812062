"""Models and traces by their sha256: put by people, and read by people and boards, whole or in ranges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse

from ..db import Store
from ..db.fleet.blobs import PIECE_BYTES, BlobInfo
from ..profiler.documents import document_of
from .auth import anyone_known, person_caller
from .bodies import read_pieces
from .describe import Answer, described
from .refusal import Refusal
from .settings import HubSettings

Name = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="sha256 of the contents, in hexadecimal")]
_BYTES = "application/octet-stream"
#: Uploads up to this size never touch the disk.
_IN_MEMORY_BYTES = 8 << 20
_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{1,15})?")


def blob_routes(store: Store, settings: HubSettings) -> APIRouter:
    """The routes of the artefact store."""
    router = APIRouter(prefix="/v1/blobs", tags=["models"])
    _add_put(router, store, settings)
    _add_get(router, store)
    return router


def _add_put(router: APIRouter, store: Store, settings: HubSettings) -> None:
    fleet = store.fleet

    @router.put(
        "/{sha256}",
        **described(
            "operator",
            {201: Answer("stored", BlobInfo), 200: Answer("was there already", BlobInfo)},
            body=_BYTES,
            refusals=(401, 403, 413, 422, 503),
        ),
    )
    async def put(request: Request, sha256: Name) -> JSONResponse:
        """Store contents; a cut or garbled upload has another sha256 and is not kept."""
        name = await person_caller(request, fleet, "operator")
        there = await run_in_threadpool(fleet.blob_info, sha256)
        if there is not None:
            return JSONResponse(document_of(there))
        media_type = request.headers.get("content-type", _BYTES)[:100]
        # A large model waits on the disk: the database's transaction begins when all of it is there.
        with SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as waiting:
            async for piece in read_pieces(request, settings.blob_bytes):
                waiting.write(piece)
            waiting.seek(0)

            def keep() -> BlobInfo:
                pieces = iter(partial(waiting.read, PIECE_BYTES), b"")
                return fleet.put_blob(sha256, pieces, media_type=media_type, by=name, most_bytes=settings.blob_bytes)

            stored = await run_in_threadpool(keep)
        return JSONResponse(document_of(stored), status_code=201)


def _add_get(router: APIRouter, store: Store) -> None:
    fleet = store.fleet

    @router.get(
        "/{sha256}",
        response_class=StreamingResponse,
        **described(
            "viewer or agent",
            {
                200: Answer("the contents", media_type=_BYTES),
                206: Answer("the range that was asked for", media_type=_BYTES),
            },
            refusals=(401, 404, 422, 503),
        ),
    )
    async def get(request: Request, sha256: Name) -> Response:
        """Contents, or one range of them. They never change: whoever has them need not ask again."""
        await anyone_known(request, fleet)
        found = await run_in_threadpool(fleet.blob_info, sha256)
        if found is None:
            raise Refusal(404, f"there is no blob {sha256}")
        start, end = _range(request.headers.get("range"), found.size_bytes)
        headers = {
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, immutable, max-age=31536000",
            "Content-Length": str(end - start),
            "ETag": f'"{sha256}"',
        }
        is_part = (start, end) != (0, found.size_bytes)
        if is_part:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size_bytes}"

        def pieces() -> Iterator[bytes]:
            for at in range(start, end, PIECE_BYTES):
                yield fleet.read_blob(sha256, at, min(PIECE_BYTES, end - at))

        return StreamingResponse(pieces(), 206 if is_part else 200, headers, _BYTES)


def _range(asked: str | None, size: int) -> tuple[int, int]:
    """Start and end of the one range that is asked for; everything for what is no range, as HTTP has it."""
    found = _RANGE.fullmatch(asked or "")
    if found is None:
        return 0, size
    start, end = int(found[1]), int(found[2]) + 1 if found[2] else size
    if start >= min(end, size):
        return 0, size
    return start, min(end, size)
