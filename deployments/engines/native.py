"""scikit-learn itself as an engine: the reference that every other engine must equal."""

import numpy as np

from cluster.contracts import Batch, Method, Signature
from cluster.errors import PlatformError, PredictionFailed
from deployments.engines.base import Estimator, Values
from deployments.engines.inputs import estimator_input
from deployments.engines.memory import measured_bytes
from deployments.engines.plain_values import plain_values
from deployments.engines.threads import pin_threads, quiet_libraries

#: Estimators nested deeper than this have their worker count left alone.
_MAX_NESTING = 8


class NativeEngine:
    """A fitted estimator behind the ``Engine`` protocol, single-threaded."""

    name = "native"

    def __init__(self, estimator: Estimator, signature: Signature) -> None:
        _work_alone(estimator, _MAX_NESTING)
        self.methods: frozenset[Method] = frozenset(signature.methods)
        self.memory_bytes = measured_bytes(estimator)
        self._estimator = estimator
        self._signature = signature

    def run(self, method: Method, batch: Batch) -> Values:
        """
        Answer all rows of a batch.

        Raises:
            PredictionFailed: The estimator raised; its text is in ``library_text``, for the log.
        """
        return call_estimator(self._estimator, self._signature, method, batch)


def call_estimator(
    estimator: Estimator, signature: Signature, method: Method, batch: Batch
) -> Values:
    """
    Call one method of a fitted estimator and bring its answer into shape.

    Raises:
        PredictionFailed: The estimator raised; its text is in ``library_text``, for the log.
    """
    pin_threads()
    quiet_libraries()
    try:
        with np.errstate(all="ignore"):
            raw = getattr(estimator, method)(estimator_input(signature, batch))
            return plain_values(method, raw, batch.rows)
    except PlatformError:
        raise
    except Exception as exc:  # a library may raise anything: here it becomes ours
        raise PredictionFailed(
            f"the model raised in {method}; its owner finds the reason in the log",
            method=method,
            library_text=f"{type(exc).__name__}: {exc}"[:2000],
        ) from exc


def _work_alone(estimator: Estimator, nesting: int) -> None:
    """Set ``n_jobs`` to None throughout: one batch is far too small to share out."""
    if nesting == 0 or not hasattr(estimator, "__dict__"):
        return
    if getattr(estimator, "n_jobs", None) is not None:
        estimator.n_jobs = None
    for value in list(vars(estimator).values()):
        for part in _parts(value):
            if hasattr(part, "get_params"):
                _work_alone(part, nesting - 1)


def _parts(value: object) -> list[object]:
    if isinstance(value, np.ndarray):
        return list(value.flat) if value.dtype == object and value.size else []
    if isinstance(value, (list, tuple)):
        return [part for item in value for part in (item if isinstance(item, tuple) else (item,))]
    return [value]
