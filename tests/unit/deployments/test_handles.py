"""Ray's errors become ours, and only a caller that went away is a cancellation."""

import asyncio
from collections.abc import Awaitable

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import BackPressureError

from cluster.contracts import Batch, Feature, OutputSpec, PredictCall, Signature, VersionRef
from cluster.errors import (
    DeadlineExceeded,
    Overloaded,
    PlatformError,
    PredictionFailed,
    ReplicaUnavailable,
)
from deployments.handles import call, travels_by_reference

pytestmark = pytest.mark.anyio


class RaisingHandle:
    """A handle whose call ends in one error."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def options(self, **_: object) -> "RaisingHandle":
        return self

    def remote(self, *_: object) -> Awaitable[object]:
        async def fail() -> object:
            raise self._error

        return fail()


class SilentHandle(RaisingHandle):
    """A handle that never answers."""

    def __init__(self) -> None:
        super().__init__(AssertionError())

    def remote(self, *_: object) -> Awaitable[object]:
        return asyncio.Event().wait()


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ActorDiedError(), ReplicaUnavailable),
        (BackPressureError(10, 10), Overloaded),
        # A replica that cancels looks like a caller that left; nobody asked this task to stop.
        (asyncio.CancelledError(), ReplicaUnavailable),
        (RayTaskError("f", "trace", PredictionFailed("it raised")), PredictionFailed),
        (RayTaskError("f", "trace", ValueError("secret-canary")), PlatformError),
    ],
)
async def test_a_foreign_error_becomes_ours(
    raised: BaseException, expected: type[PlatformError]
) -> None:
    with pytest.raises(expected) as caught:
        await call(RaisingHandle(raised), timeout_s=5)

    assert type(caught.value) is expected
    assert "canary" not in caught.value.message
    assert "Traceback" not in caught.value.message


async def test_the_other_sides_error_keeps_its_context() -> None:
    error = RayTaskError("f", "trace", PredictionFailed("it raised", row=3))

    with pytest.raises(PredictionFailed) as caught:
        await call(RaisingHandle(error.as_instanceof_cause()), timeout_s=5)

    assert caught.value.message == "it raised"
    assert caught.value.context == {"row": 3}


async def test_no_answer_in_time_is_a_deadline() -> None:
    with pytest.raises(DeadlineExceeded):
        await call(SilentHandle(), timeout_s=0.01)


async def test_a_cancelled_caller_is_cancelled() -> None:
    task = asyncio.create_task(call(SilentHandle(), timeout_s=60))
    await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


def predict_call(batch: Batch, width: int = -1) -> PredictCall:
    spec = OutputSpec(type="FP64", shape=(-1, width))
    signature = Signature(
        kind="table",
        container="matrix",
        features=(Feature(name="x", type="number", nullable=False),),
        methods=("predict",),
        outputs={"predict": spec},
        classes=None,
        sklearn_version="1.9.1",
    )
    version = VersionRef(model_id="m", version=1, sha256="0" * 64, size_bytes=1, format="skops")
    return PredictCall(
        version=version, signature=signature, method="predict", batch=batch, timeout_s=1
    )


def matrix(rows: int, columns: int) -> Batch:
    return Batch(rows=rows, matrix=np.zeros((rows, columns)))


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (predict_call(matrix(1, 4)), False),
        (predict_call(matrix(100_000, 100)), True),  # the rows are too many for a message
        (predict_call(matrix(1000, 2), width=1000), True),  # the answer is
        (
            predict_call(Batch(rows=1, columns=(np.array(["x" * 3_000_000], dtype=object),))),
            True,  # one long document is
        ),
    ],
)
def test_large_calls_travel_by_reference(request_: PredictCall, *, expected: bool) -> None:
    assert travels_by_reference(request_) is expected
