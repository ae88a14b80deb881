"""Turns at the Loader, and what the caller's role may send."""

import asyncio
import hashlib
import io
import time
import zipfile
from dataclasses import replace

import pytest

from cluster.contracts import (
    Batch,
    LoaderStatus,
    Method,
    Signature,
    VersionRef,
    VetReport,
    VetRequest,
)
from cluster.errors import NotPermitted, Overloaded, UploadRefused
from deployments.intake.outcomes import Replay
from serve_app.security.principals import Principal
from serve_app.uploads import Upload
from serve_app.vetting import VETTINGS_AT_A_TIME, Vetting

pytestmark = pytest.mark.anyio

MEMBER = Principal(user_id="u", email="u@example.org", role="member")
OTHER = Principal(user_id="v", email="v@example.org", role="member")


class HeldLoaders:
    """Holds every file until it is let go, then refuses it."""

    def __init__(self) -> None:
        self.held = 0
        self.most_held = 0
        self.let_go = asyncio.Event()

    async def vet(self, content: bytes, request: VetRequest) -> VetReport:
        """Wait, then refuse."""
        self.held += 1
        self.most_held = max(self.held, self.most_held)
        await self.let_go.wait()
        self.held -= 1
        raise UploadRefused(f"{len(content)} bytes of {request.sha256}")

    async def fetch(self, sha256: str, size_bytes: int) -> bytes:
        """No file is kept."""
        raise NotImplementedError((sha256, size_bytes))

    async def fetch_compiled(self, sha256: str, size_bytes: int) -> bytes:
        raise NotImplementedError

    async def replay(
        self, version: VersionRef, signature: Signature, method: Method, batch: Batch
    ) -> Replay:
        raise NotImplementedError

    async def status(self) -> LoaderStatus:
        """Nobody asks."""
        raise NotImplementedError

    async def ping(self) -> None:
        """Answer."""


def upload_of(content: bytes) -> Upload:
    return Upload(
        file=io.BytesIO(content),
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        fields={},
        promote=False,
        examples=None,
        request_sha256=b"",
    )


def skops_file() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", "{}")
    return buffer.getvalue()


async def test_four_files_are_vetted_at_a_time() -> None:
    loaders = HeldLoaders()
    vetting = Vetting(loaders, patience_s=30, per_user=VETTINGS_AT_A_TIME)
    calls = [
        asyncio.create_task(vetting.vet(upload_of(skops_file()), MEMBER))
        for _ in range(2 * VETTINGS_AT_A_TIME)
    ]
    async with asyncio.timeout(10):
        while loaders.held < VETTINGS_AT_A_TIME:
            await asyncio.wait(calls, timeout=0.01)
    loaders.let_go.set()

    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert loaders.most_held == VETTINGS_AT_A_TIME
    assert {type(answer) for answer in answers} == {UploadRefused}


async def test_without_a_turn_the_caller_is_told_when_to_come_back() -> None:
    loaders = HeldLoaders()
    vetting = Vetting(loaders, patience_s=30, per_user=VETTINGS_AT_A_TIME)
    calls = [
        asyncio.create_task(vetting.vet(upload_of(skops_file()), MEMBER))
        for _ in range(VETTINGS_AT_A_TIME)
    ]
    async with asyncio.timeout(10):
        while loaders.held < VETTINGS_AT_A_TIME:
            await asyncio.wait(calls, timeout=0.01)
    # It took all but a moment of its time to arrive.
    late = replace(upload_of(skops_file()), began_s=time.monotonic() - 29.5)

    with pytest.raises(Overloaded) as caught:
        await vetting.vet(late, OTHER)

    assert caught.value.retry_after_s == 1
    loaders.let_go.set()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_a_vetting_that_others_hold_up_ends_in_time() -> None:
    vetting = Vetting(HeldLoaders(), patience_s=0.1)

    with pytest.raises(Overloaded) as caught:
        await vetting.vet(upload_of(skops_file()), MEMBER)

    assert caught.value.retry_after_s == 10


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\x80\x04}.", "pickle"),
        # gzip: nothing but joblib saves models so
        (b"\x1f\x8b\x08\x00", "joblib"),
    ],
)
async def test_a_member_may_not_send_what_carries_code(content: bytes, found: str) -> None:
    loaders = HeldLoaders()

    with pytest.raises(NotPermitted, match=f"this is {found}"):
        await Vetting(loaders, patience_s=1).vet(upload_of(content), MEMBER)

    assert loaders.most_held == 0
