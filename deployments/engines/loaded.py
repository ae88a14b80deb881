"""A version in memory, ready to answer: its original and, where chosen, its compiled form."""

import time
from collections.abc import Mapping
from typing import Self

from cluster.contracts import Batch, Method, Signature
from cluster.errors import InvalidInput
from deployments.engines.base import Engine, Values
from deployments.engines.choose import compiled_or_none
from deployments.engines.compiled import CompiledModel
from deployments.engines.native import NativeEngine
from deployments.engines.onnx import OnnxEngine, OnnxModel
from deployments.engines.pace import Pace
from deployments.engines.timing import Clock

_COMPILED_NAMES = frozenset({"linear", "trees"})


class LoadedModel:
    """Answers batches by the engine chosen for the method; safe for several threads."""

    def __init__(
        self,
        original: Engine,
        compiled: CompiledModel | None,
        engines: Mapping[str, str],
        *,
        clock: Clock = time.perf_counter,
    ) -> None:
        self._original = original
        self._compiled = compiled
        self._engines = engines
        self._clock = clock
        self._pace = Pace()

    @classmethod
    def build(
        cls,
        estimator: object,
        signature: Signature,
        engines: Mapping[str, str] | None = None,
        *,
        compiled: CompiledModel | None = None,
        clock: Clock = time.perf_counter,
    ) -> Self:
        """
        The model with the engines that vetting chose; all by scikit-learn where it says nothing.

        A compiled form that cannot be made any more is left out: the original is always right.

        Args:
            estimator: A fitted estimator, or an ``OnnxModel``.
            signature: Derived from it.
            engines: By method.
            compiled: The estimator's compiled form, where it was made already.
            clock: Seconds.
        """
        if isinstance(estimator, OnnxModel):
            return cls(OnnxEngine(estimator, signature), None, {}, clock=clock)
        chosen = engines or {}
        if not _COMPILED_NAMES.intersection(chosen.values()):
            compiled = None
        elif compiled is None:
            compiled = compiled_or_none(estimator, signature)
        return cls(NativeEngine(estimator, signature), compiled, chosen, clock=clock)

    @property
    def memory_bytes(self) -> int:
        """Bytes that go when the model is dropped."""
        compiled = 0 if self._compiled is None else self._compiled.memory_bytes
        return self._original.memory_bytes + compiled

    @property
    def compiled(self) -> CompiledModel | None:
        """The compiled form, for whoever may run nothing else; see ``CompiledModel.dump``."""
        return self._compiled

    def run(self, method: Method, batch: Batch) -> tuple[Values, str]:
        """
        Answer a batch.

        Returns:
            The values as ``PredictReply`` describes them, and the name of the engine.

        Raises:
            InvalidInput: The model has no such method.
            PredictionFailed: The model raised.
        """
        if method not in self._original.methods:
            known = ", ".join(sorted(self._original.methods))
            raise InvalidInput(f"this model has no method {method!r}; it has {known}")
        candidates = self._candidates(method)
        name = self._pace.pick(method, batch.rows, tuple(candidates))
        started = self._clock()
        values = candidates[name].run(method, batch)
        self._pace.record(method, batch.rows, name, self._clock() - started)
        return values, name

    def _candidates(self, method: Method) -> dict[str, Engine]:
        """Engines by name, the chosen one first."""
        original = {self._original.name: self._original}
        compiled = self._compiled
        if compiled is None or self._engines.get(method) != compiled.name:
            return original
        return {compiled.name: compiled, **original} if method in compiled.methods else original
