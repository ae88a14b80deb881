from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cluster.contracts import Batch, Method, OutputSpec
from cluster.errors import ModelQuarantined, NotPermitted, PlatformError
from serve_app.coalescing import Coalescer
from serve_app.inference import Inference, Prediction
from serve_app.inference_ports import Outcome
from serve_app.registry.resolution import ResolvedVersion
from serve_app.security.principals import Principal
from tests.unit.serve_app.predicting import (
    ALICE,
    FunctionPredictors,
    TableCatalog,
    double,
    resolved,
    rows_of,
    signature,
)

pytestmark = pytest.mark.anyio
READY = resolved("m", signature())
TRANSFORMER = resolved(
    "t", signature(outputs={"transform": OutputSpec(type="FP64", shape=(-1, 2))})
)


class TripleHere:
    """A short path that answers one method in this process."""

    def find_engine(
        self, _resolved: ResolvedVersion, method: Method, _rows: int, /
    ) -> Callable[[Batch], NDArray[Any]] | None:
        if method != "predict":
            return None
        return lambda batch: np.zeros(0) if batch.matrix is None else batch.matrix[:, 0] * 3


class OneAnswer:
    """A cache that keeps the first answer for good."""

    def __init__(self) -> None:
        self.kept: NDArray[Any] | None = None

    async def find_or_compute(
        self,
        _resolved: ResolvedVersion,
        _method: Method,
        _batch: Batch,
        compute: Callable[[], Awaitable[NDArray[Any]]],
        /,
    ) -> NDArray[Any]:
        if self.kept is None:
            self.kept = await compute()
        return self.kept


def inference(**options: Any) -> tuple[Inference, FunctionPredictors]:
    behind = FunctionPredictors({"id-of-m": double, "id-of-t": double})
    catalog = TableCatalog([READY, TRANSFORMER, resolved("q", signature(), status="quarantined")])
    return Inference(catalog=catalog, coalescer=Coalescer(behind), **options), behind


async def ask(
    through: Inference, model: str = "m", method: str | None = None, **options: Any
) -> Prediction:
    return await through.predict(
        options.pop("principal", ALICE),
        model,
        None,
        method,
        decode=options.pop("decode", lambda _resolved: rows_of(2)),
        timeout_s=5,
    )


async def test_a_prediction_names_what_gave_it() -> None:
    through, _ = inference()
    prediction = await ask(through)

    assert prediction.values.tolist() == [4.0]
    assert (prediction.resolved, prediction.method) == (READY, "predict")


async def test_the_main_method_is_predict_or_else_the_first() -> None:
    through, _ = inference()

    assert (await ask(through, "t")).method == "transform"


async def test_a_short_path_answers_without_a_hop() -> None:
    through, behind = inference(short_path=TripleHere())

    assert (await ask(through)).values.tolist() == [6.0]
    assert behind.calls == []


async def test_what_the_short_path_has_no_engine_for_takes_the_hop() -> None:
    through, behind = inference(short_path=TripleHere())
    await ask(through, "t")

    assert len(behind.calls) == 1


async def test_a_cache_may_answer_instead() -> None:
    through, behind = inference(cache=OneAnswer())
    await ask(through)

    assert (await ask(through)).values.tolist() == [4.0]
    assert len(behind.calls) == 1


async def test_without_the_scope_nothing_is_resolved() -> None:
    through, _ = inference()
    reader = Principal(
        user_id="2", email="bob@example.org", role="member", scopes=frozenset({"models:read"})
    )
    with pytest.raises(NotPermitted, match="predict"):
        await ask(through, "nobody", principal=reader)


async def test_a_quarantined_version_is_refused_before_its_input_is_read() -> None:
    through, _ = inference()

    def decode(_resolved: ResolvedVersion) -> Batch:
        raise AssertionError("decoded")

    with pytest.raises(ModelQuarantined) as held:
        await ask(through, "q", decode=decode)
    assert held.value.retry_after_s == 60


async def test_every_end_is_observed_once() -> None:
    seen: list[Outcome] = []
    through, behind = inference(observers=(seen.append,))
    await ask(through)

    def fail(_method: str, _batch: Batch) -> Any:
        raise ZeroDivisionError

    behind.models = {"id-of-m": fail}
    with pytest.raises(ZeroDivisionError):
        await ask(through)
    with pytest.raises(PlatformError):
        await ask(through, method="transform")

    codes = [(outcome.code, outcome.rows, outcome.method) for outcome in seen]
    assert codes == [("ok", 1, ""), ("internal", 1, ""), ("unknown_method", 0, "transform")]
    assert all(outcome.seconds >= 0 for outcome in seen)


async def test_what_waits_and_travels_is_told_for_autoscaling() -> None:
    through, _ = inference()

    assert through.autoscaling_stats() == {
        "queue_age_s": 0.0,
        "queued_requests": 0.0,
        "calls_in_flight": 0.0,
    }
