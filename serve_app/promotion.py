"""Moving ``production``: the version is warm where its calls will go before the alias moves."""

import asyncio

from cluster.contracts import Signature, VersionRef
from cluster.errors import ModelLoading, PlatformError
from deployments.signatures.storage import signature_from_json
from serve_app.ports import Predictors
from serve_app.registry.records import VersionRecord


def version_ref(record: VersionRecord) -> VersionRef:
    """What Loaders and Predictors need to know of the version."""
    return VersionRef(
        model_id=record.model_id,
        version=record.number,
        sha256=record.sha256,
        size_bytes=record.size_bytes,
        format=record.format,
        engines=record.engines,
    )


async def warm(predictors: Predictors, record: VersionRecord, *, timeout_s: float) -> None:
    """
    Return once the version is loaded.

    Raises:
        PlatformError: It could not be; the sentence says that production was not moved.
    """
    signature: Signature = signature_from_json(record.signature)
    try:
        async with asyncio.timeout(timeout_s):
            await predictors.warm(version_ref(record), signature)
    except TimeoutError as error:
        raise ModelLoading(
            f"production was not moved: version {record.number} did not load within "
            f"{timeout_s:g} seconds; try again",
            retry_after_s=5,
        ) from error
    except PlatformError as error:
        raise type(error)(
            f"production was not moved, since version {record.number} could not be loaded: "
            f"{error.message}",
            **error.context,
        ) from error
