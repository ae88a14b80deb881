"""
Taking in an uploaded file: streamed to an unnamed spool file, counted and hashed on the way.

The spool file has no name from its first byte on, so it is gone when the request ends, however it
ends.  What the bytes mean is for the Loader to find out.
"""

import asyncio
import hashlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Self

from starlette.requests import ClientDisconnect

from cluster.contracts import Examples
from cluster.errors import DeadlineExceeded, PlatformError, QuotaExceeded, StorageFull
from cluster.request_errors import MalformedMultipart
from cluster.settings import Settings
from serve_app.multipart import FormBounds, FormReader, file_too_large
from serve_app.upload_fields import FIELD_BYTES_MAX, decode_fields

#: Pieces are hashed and written together, so that a thread is entered once a mebibyte.
WRITE_BYTES = 1024 * 1024
#: Uploads of one user in one replica; beyond it a client is not waiting but piling up.
UPLOADS_AT_A_TIME = 64
#: Pieces, look-ups and writes of all uploads of one replica that are worked on at a time: a burst
#: of files is worked off beside predictions, which wait for one step of it and never for twenty.
STEPS_AT_A_TIME = 1
#: What is read and thrown away after a refusal, so that the client gets to read the answer
#: instead of a connection reset; more than this and the connection closes.
LINGER_BYTES = 8 * 1024 * 1024
LINGER_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """A file that has arrived whole, with the fields sent along."""

    file: BinaryIO
    size_bytes: int
    #: Hex digest of the file.
    sha256: str
    #: ``name`` and ``description`` where they were sent.
    fields: Mapping[str, str]
    #: The part ``promote``; ``False`` where it was not sent.
    promote: bool
    examples: Examples | None
    #: Digest over file and fields: equal for a repeated request, whatever its boundary.
    request_sha256: bytes
    #: When its first byte was waited for, by ``time.monotonic``.
    began_s: float = field(default_factory=time.monotonic)

    async def content(self) -> bytes:
        """The file's bytes."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> bytes:
        self.file.seek(0)
        return self.file.read()


class Uploads:
    """The intake of one ingress replica: its spool, its bounds, and who is uploading now."""

    def __init__(
        self,
        *,
        spool: Path,
        file_bytes_max: int,
        concurrent_per_user: int,
        idle_timeout_s: float,
    ) -> None:
        self._spool = spool
        self._file_bytes_max = file_bytes_max
        self._concurrent_per_user = concurrent_per_user
        self._idle_timeout_s = idle_timeout_s
        self._running: Counter[str] = Counter()
        self._steps = asyncio.Semaphore(STEPS_AT_A_TIME)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The intake as the settings describe it."""
        return cls(
            spool=settings.slipway_home / "spool",
            file_bytes_max=settings.max_upload_size,
            concurrent_per_user=UPLOADS_AT_A_TIME,
            idle_timeout_s=settings.request_timeout_s,
        )

    @contextmanager
    def slot(self, user_id: str) -> Iterator[None]:
        """
        Hold one of the user's places for an upload, which may have to wait for its vetting.

        Raises:
            QuotaExceeded: All of them are taken.
        """
        if self._running[user_id] >= self._concurrent_per_user:
            raise QuotaExceeded(
                f"{self._concurrent_per_user} uploads of yours are under way: wait for one to "
                "end, then send this one again",
                retry_after_s=2,
            )
        self._running[user_id] += 1
        try:
            yield
        finally:
            self._running[user_id] -= 1
            if not self._running[user_id]:
                del self._running[user_id]

    def step(self) -> AbstractAsyncContextManager[None]:
        """A turn at some milliseconds of an upload's work; no client is waited for in it."""
        return self._steps

    @asynccontextmanager
    async def receive(
        self,
        stream: AsyncIterator[bytes],
        *,
        content_type: str,
        content_length: int | None = None,
        parts: tuple[str, ...],
        admit: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[Upload]:
        """
        Read a multipart body; the file lives as long as the block.

        Args:
            stream: The body as the ASGI server hands it over.
            content_type: The request's header, with the boundary.
            content_length: What the client announced; only ever a reason to refuse early.
            parts: The parts this route takes beside ``file``.
            admit: Raises where the file need not be taken in at all.

        Raises:
            PlatformError: What ``admit`` raises.
            UnsupportedMediaType, MalformedMultipart, InvalidInput: The form is not right.
            TooLarge: A bound was passed; nothing further was kept.
            StorageFull: Less than twice the largest file is free on the disk.
            DeadlineExceeded: The client stopped sending.
        """
        bounds = FormBounds(
            file_bytes_max=self._file_bytes_max,
            field_bytes_max={part: FIELD_BYTES_MAX[part] for part in parts},
        )
        began_s = time.monotonic()
        with self._open_spool() as file:
            try:
                admit()
                reader = FormReader(content_type, bounds)
                if content_length is not None and content_length > bounds.body_bytes_max:
                    raise file_too_large(self._file_bytes_max)
                digest = hashlib.sha256()
                await self._spool_body(stream, reader, file, digest)
                form = decode_fields(reader.close())
            except PlatformError:
                await _linger(stream)
                raise
            yield Upload(
                file=file,
                size_bytes=file.tell(),
                sha256=digest.hexdigest(),
                fields=form.texts,
                promote=form.promote,
                examples=form.examples,
                request_sha256=hashlib.sha256(digest.digest() + form.sha256).digest(),
                began_s=began_s,
            )

    def _open_spool(self) -> BinaryIO:
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shutil.disk_usage(self._spool).free < 2 * self._file_bytes_max:
            raise StorageFull(
                "too little disk is left to take a file in: ask the operator to free some",
                directory=str(self._spool),
            )
        return tempfile.TemporaryFile(dir=self._spool)

    async def _spool_body(
        self,
        stream: AsyncIterator[bytes],
        reader: FormReader,
        file: BinaryIO,
        digest: "hashlib._Hash",
    ) -> None:
        waiting: list[bytes] = []
        waiting_bytes = 0
        chunks = aiter(stream)
        while (chunk := await self._next(chunks)) is not None:
            async with self.step():
                piece = reader.feed(chunk)
                waiting.append(piece)
                waiting_bytes += len(piece)
                if waiting_bytes >= WRITE_BYTES:
                    await asyncio.to_thread(_keep, file, digest, waiting)
                    waiting, waiting_bytes = [], 0
                # Whoever else is ready on this event loop comes before the next piece.
                await asyncio.sleep(0)
        async with self.step():
            await asyncio.to_thread(_keep, file, digest, waiting)

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                return await anext(chunks, None)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"the upload stood still for {self._idle_timeout_s:g} seconds: send it again"
            ) from error
        except ClientDisconnect as error:
            raise MalformedMultipart("the upload was cut off: send it again") from error


def _keep(file: BinaryIO, digest: "hashlib._Hash", pieces: list[bytes]) -> None:
    try:
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
    except OSError as error:
        raise StorageFull(
            "the file could not be written to the disk: ask the operator to look at it"
        ) from error


async def _linger(stream: AsyncIterator[bytes]) -> None:
    left = LINGER_BYTES
    try:
        async with asyncio.timeout(LINGER_S):
            async for chunk in stream:
                left -= len(chunk)
                if left < 0:
                    return
    except (TimeoutError, ClientDisconnect):
        return
