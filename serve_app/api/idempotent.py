"""
Idempotency-Key: a repeated POST gets the first one's answer instead of a second thing.

The answer is stored in the transaction that makes the thing; a request that fails frees its key.
"""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import JSONResponse

from cluster.contracts import JsonObject
from cluster.errors import InvalidInput, PlatformError
from serve_app.registry import idempotency
from serve_app.registry.database import Session
from serve_app.registry.idempotency import StoredAnswer
from serve_app.services import Services

HEADER = "Idempotency-Key"
KEY_LENGTH_MAX = 255


@dataclass(kw_only=True, slots=True)
class Claim:
    """One request's hold on its key; without a key it does nothing."""

    user_id: str
    key: str | None = None
    #: What the first request was answered; ``None`` where this is the first.
    stored: StoredAnswer | None = None

    @property
    def replay(self) -> JSONResponse | None:
        """The stored answer as a response, or ``None`` where the work is to be done."""
        if self.stored is None:
            return None
        headers = {"Idempotent-Replayed": "true"}
        if self.stored.location is not None:
            headers["Location"] = self.stored.location
        return JSONResponse(self.stored.response, self.stored.status, headers=headers)

    def finish(
        self, session: Session, *, status: int, response: JsonObject, location: str | None = None
    ) -> None:
        """Store the answer, in the transaction of the work."""
        if self.key is None:
            return
        idempotency.finish(
            session,
            self.user_id,
            self.key,
            status=status,
            response=response,
            location=location,
        )


@asynccontextmanager
async def claimed(
    request: Request, services: Services, user_id: str, body_sha256: bytes
) -> AsyncIterator[Claim]:
    """
    Hold the request's key while the work runs; it is freed unless the answer was stored.

    Raises:
        InvalidInput: The header is no key.
        IdempotencyKeyReused: The key was used for another request.
        IdempotencyKeyInUse: The first request still runs.
    """
    key = find_key(request)
    if key is None:
        yield Claim(user_id=user_id)
        return
    digest = hashlib.sha256(f"{request.method} {request.url.path} ".encode() + body_sha256).digest()
    written = await services.database.write(
        lambda session: idempotency.begin(session, user_id, key, digest, runner=services.replica_id)
    )
    claim = Claim(user_id=user_id, key=key, stored=written.value)
    try:
        yield claim
    finally:
        if claim.stored is None:
            # An answer that was stored stays.  Where the registry is away, the key frees itself
            # later: it is not believed to run for more than minutes.
            with suppress(PlatformError):
                await services.database.write(
                    lambda session: idempotency.abandon(session, user_id, key)
                )


def find_key(request: Request) -> str | None:
    """
    The request's Idempotency-Key, or ``None``.

    Raises:
        InvalidInput: The header is no key.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not 1 <= len(key) <= KEY_LENGTH_MAX or not (key.isascii() and key.isprintable()):
        raise InvalidInput(
            f"the header {HEADER} takes 1 to {KEY_LENGTH_MAX} printable ASCII characters"
        )
    return key
