"""
From an arrived file to a version that may be stored: who may send what, and the Loader's verdict.

Four files at a time are held in memory by one replica; the others wait in their spool.
"""

import asyncio

from cluster.contracts import ArtifactFormat, VetReport, VetRequest
from cluster.errors import NotPermitted
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


def allowed_formats(principal: Principal) -> tuple[ArtifactFormat, ...]:
    """What the caller may upload: members the formats that carry no code."""
    return SAFE_FORMATS if principal.role == "member" else EVERY_FORMAT


class Vetting:
    """The way to the Loaders for one ingress replica's uploads."""

    def __init__(self, loaders: Loaders, *, patience_s: float, per_user: int = 2) -> None:
        self._loaders = loaders
        self._turns = Turns(total=VETTINGS_AT_A_TIME, per_user=per_user, patience_s=patience_s)

    async def vet(self, upload: Upload, principal: Principal) -> NewVersion:
        """
        The verdict on a file, which is stored when this returns.

        Raises:
            NotPermitted: The caller's role may not send this format.
            UploadRefused: A gate refused.
            Overloaded: No turn came within the patience.
        """
        request = VetRequest(
            sha256=upload.sha256,
            size_bytes=upload.size_bytes,
            allowed_formats=allowed_formats(principal),
            examples=upload.examples,
            request_id=request_id_var.get(),
        )
        async with self._turns.turn(principal.user_id):
            report = await self._vet(upload, request)
        return NewVersion.from_report(
            report, sha256=upload.sha256, size_bytes=upload.size_bytes, examples=upload.examples
        )

    async def _vet(self, upload: Upload, request: VetRequest) -> VetReport:
        content = await upload.content()
        # In a thread: an archive's directory and a protobuf are walked to tell the format.
        found = await asyncio.to_thread(detect, content)
        _refuse_format(found, request.allowed_formats)
        return await self._loaders.vet(content, request)


def _refuse_format(found: ArtifactFormat, allowed: tuple[ArtifactFormat, ...]) -> None:
    if found in allowed:
        return
    raise NotPermitted(
        f"your role takes skops and ONNX files, and this is {found}: save the model with "
        "skops.io.dump(model, 'model.skops') (pip install skops) and upload that file, or ask an "
        "administrator for the role 'publisher' (slipway users set-role EMAIL publisher)",
        format=found,
    )
