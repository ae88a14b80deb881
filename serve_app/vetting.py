"""
From an arrived file to a version that may be stored: who may send what, and the Loader's verdict.

Four files at a time are held in memory by one replica; the others wait in their spool, or are sent
away at once where their turn would come too late.
"""

import asyncio
import time
from collections.abc import Callable

from cluster.contracts import ArtifactFormat, VetReport, VetRequest
from cluster.errors import NotPermitted, Overloaded
from cluster.request_context import request_id_var
from deployments.intake.formats import detect
from serve_app.ports import Loaders
from serve_app.registry.records import NewVersion
from serve_app.security.principals import Principal
from serve_app.turns import Turns
from serve_app.uploads import Upload

SAFE_FORMATS: tuple[ArtifactFormat, ...] = ("skops", "onnx")
EVERY_FORMAT: tuple[ArtifactFormat, ...] = ("skops", "onnx", "joblib", "pickle")
VETTINGS_AT_A_TIME = 4
#: By then the vettings that stood in the way have been answered or ended.
_LATE_RETRY_AFTER_S = 10


def allowed_formats(principal: Principal) -> tuple[ArtifactFormat, ...]:
    """What the caller may upload: members the formats that carry no code."""
    return SAFE_FORMATS if principal.role == "member" else EVERY_FORMAT


class Vetting:
    """
    The way to the Loaders for one ingress replica's uploads.

    Args:
        loaders: What vets.
        patience_s: Seconds from an upload's first byte to its answer.
        per_user: Files of one user that are vetted at a time.
        clock: Seconds, the same as the uploads'.
    """

    def __init__(
        self,
        loaders: Loaders,
        *,
        patience_s: float,
        per_user: int = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loaders = loaders
        self._patience_s = patience_s
        self._clock = clock
        self._turns = Turns(total=VETTINGS_AT_A_TIME, per_user=per_user, clock=clock)

    def require_room(self, principal: Principal) -> None:
        """
        Return if an upload that begins now can be vetted in time, as far as can be told.

        Raises:
            QuotaExceeded, Overloaded: It cannot; with the seconds to wait.
        """
        self._turns.require_room(principal.user_id, patience_s=self._patience_s)

    async def vet(self, upload: Upload, principal: Principal) -> NewVersion:
        """
        The verdict on a file, which is stored when this returns.

        Raises:
            NotPermitted: The caller's role may not send this format.
            UploadRefused: A gate refused.
            QuotaExceeded, Overloaded: No turn came in time, or none would; or the vetting itself
                waited too long behind those of other replicas.
        """
        request = VetRequest(
            sha256=upload.sha256,
            size_bytes=upload.size_bytes,
            allowed_formats=allowed_formats(principal),
            examples=upload.examples,
            request_id=request_id_var.get(),
        )
        deadline_s = upload.began_s + self._patience_s
        left_s = deadline_s - self._clock()
        async with self._turns.turn(principal.user_id, patience_s=left_s):
            report = await self._vet(upload, request, deadline_s - self._clock())
        return NewVersion.from_report(
            report, sha256=upload.sha256, size_bytes=upload.size_bytes, examples=upload.examples
        )

    async def _vet(self, upload: Upload, request: VetRequest, left_s: float) -> VetReport:
        content = await upload.content()
        # In a thread: an archive's directory and a protobuf are walked to tell the format.
        found = await asyncio.to_thread(detect, content)
        _refuse_format(found, request.allowed_formats)
        try:
            async with asyncio.timeout(left_s):
                return await self._loaders.vet(content, request)
        except TimeoutError as error:
            # The sandbox ends every file before this: it was others that took so long.
            raise Overloaded(
                "too many uploads are being vetted: send this one again",
                retry_after_s=_LATE_RETRY_AFTER_S,
            ) from error


def _refuse_format(found: ArtifactFormat, allowed: tuple[ArtifactFormat, ...]) -> None:
    if found in allowed:
        return
    raise NotPermitted(
        f"your role takes skops and ONNX files, and this is {found}: save the model with "
        "skops.io.dump(model, 'model.skops') (pip install skops) and upload that file, or ask an "
        "administrator for the role 'publisher' (slipway users set-role EMAIL publisher)",
        format=found,
    )
