"""
The one use case behind every door: a prediction, from a caller and a model's name to its values.

resolve → permission → quarantine → method → decode → cost → cache → short path or coalescer.
No HTTP here; each door decodes its own protocol in the ``decode`` it passes.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from cluster.contracts import METHODS, Batch, Method, VersionRef
from cluster.errors import Fault, InvalidInput, ModelQuarantined, PlatformError, TooLarge
from cluster.request_context import request_facts_var, request_id_var
from cluster.tracing import annotate
from serve_app.coalescing import Coalescer
from serve_app.inference_ports import Observer, Outcome, Resolver, ResultCache, ShortPath
from serve_app.registry.resolution import ResolvedVersion
from serve_app.security.principals import Principal

#: Retry-After of a quarantined version: somebody has to release it first.
_QUARANTINE_RETRY_S = 60
#: A prediction may be expected to take this share of its deadline.
_COST_SHARE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a door needs to answer: values with one entry a row, and what gave them."""

    values: NDArray[Any]
    resolved: ResolvedVersion
    method: Method


class Inference:
    """Answers predictions; ``short_path`` and ``cache`` are used where they are given."""

    def __init__(
        self,
        *,
        catalog: Resolver,
        coalescer: Coalescer,
        short_path: ShortPath | None = None,
        cache: ResultCache | None = None,
        observers: Sequence[Observer] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._coalescer = coalescer
        self._short_path = short_path
        self._cache = cache
        self._observers = tuple(observers)
        self._clock = clock

    async def predict(
        self,
        principal: Principal,
        model: str,
        version: str | int | None,
        method: str | None,
        *,
        decode: Callable[[ResolvedVersion], Batch],
        timeout_s: float,
        is_large: bool = False,
    ) -> Prediction:
        """
        The answer of the version that ``model`` and ``version`` name to this caller.

        Args:
            principal: Who asks.
            model: Name of the caller's own, or an id.
            version: Number or alias; ``None`` for the alias ``production``.
            method: One of ``METHODS`` that the version has; ``None`` for its main one.
            decode: Gives the validated rows, once the version is known; raises InvalidInput.
            timeout_s: Seconds within which the answer must be there.
            is_large: Whether ``decode`` takes long enough to hold up other requests.

        Raises:
            PlatformError: NotPermitted, ModelNotFound, ModelQuarantined, InvalidInput, TooLarge,
                Overloaded, DeadlineExceeded or what the model raised.
        """
        started = self._clock()
        principal.require("predict")
        resolved = await self.resolve(principal, model, version)
        _note_version(resolved.ref)
        rows, code = 0, "ok"
        try:
            known = _ready_method(resolved, method)
            batch = await asyncio.to_thread(decode, resolved) if is_large else decode(resolved)
            rows = batch.rows
            left_s = timeout_s - (self._clock() - started)
            self._refuse_too_dear(resolved, known, rows, timeout_s)
            values = await self._values(resolved, known, batch, left_s)
            return Prediction(values=values, resolved=resolved, method=known)
        except PlatformError as error:
            code = error.public_code
            raise
        except BaseException:
            code = "internal"
            raise
        finally:
            self._observe(resolved, method or "", rows, self._clock() - started, code)

    async def resolve(
        self, principal: Principal, model: str, version: str | int | None
    ) -> ResolvedVersion:
        """The version that the name means to this caller; raises ModelNotFound."""
        return await self._catalog.resolve(principal, model, version)

    def autoscaling_stats(self) -> dict[str, float]:
        """What waits and what travels, for the autoscaling policy."""
        return {
            "queue_age_s": self._coalescer.queue_age_s,
            "queued_requests": float(self._coalescer.queued_requests),
            "calls_in_flight": float(self._coalescer.calls_in_flight),
        }

    async def _values(
        self, resolved: ResolvedVersion, method: Method, batch: Batch, timeout_s: float
    ) -> NDArray[Any]:
        if self._short_path is not None:
            engine = self._short_path.find_engine(resolved, method, batch.rows)
            if engine is not None:
                return engine(batch)
        if self._cache is None:
            return await self._coalesced(resolved, method, batch, timeout_s)
        return await self._cache.find_or_compute(
            resolved, method, batch, lambda: self._coalesced(resolved, method, batch, timeout_s)
        )

    async def _coalesced(
        self, resolved: ResolvedVersion, method: Method, batch: Batch, timeout_s: float
    ) -> NDArray[Any]:
        reply = await self._coalescer.predict(
            resolved.ref,
            resolved.signature,
            method,
            batch,
            timeout_s=timeout_s,
            request_id=request_id_var.get(),
        )
        return reply.values

    def _refuse_too_dear(
        self, resolved: ResolvedVersion, method: str, rows: int, timeout_s: float
    ) -> None:
        if rows == 1:
            return
        fitting = self._coalescer.costs.most_rows(
            resolved.ref,
            method,
            one_row_s=resolved.cost_per_row_s.get(method, 0.0),
            within_s=_COST_SHARE * timeout_s,
        )
        if fitting is not None and rows > fitting:
            raise TooLarge(
                f"{rows} rows would take this model longer than half of the {timeout_s:g} s "
                f"allowed: send at most {fitting} rows at a time"
            )

    def _observe(
        self, resolved: ResolvedVersion, method: str, rows: int, seconds: float, code: str
    ) -> None:
        if not self._observers:
            return
        outcome = Outcome(resolved=resolved, method=method, rows=rows, seconds=seconds, code=code)
        for observe in self._observers:
            observe(outcome)


def _note_version(version: VersionRef) -> None:
    """Let the access log and error events know which version answers."""
    if (facts := request_facts_var.get()) is not None:
        facts.model_id, facts.version = version.model_id, version.version
    annotate(model=version.model_id, version=version.version)


def _ready_method(resolved: ResolvedVersion, method: str | None) -> Method:
    if resolved.status == "quarantined":
        raise ModelQuarantined(
            f"version {resolved.ref.version} of {resolved.model_name!r} crashed its process and is "
            "held back: upload a new version, or release this one",
            retry_after_s=_QUARANTINE_RETRY_S,
        )
    methods = resolved.signature.methods
    if method is None:
        return "predict" if "predict" in methods else methods[0]
    for known in methods:
        if method == known:
            return known
    has = ", ".join(methods)
    asked = repr(method) if method in METHODS else "that one"
    said = f"this model has the methods {has}; {asked} is not among them"
    fault = Fault(path="/method", code="unknown_method", message=said)
    raise InvalidInput(said, details=(fault,), code="unknown_method")
