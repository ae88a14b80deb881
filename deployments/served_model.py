"""A version as a Predictor keeps it: built through the intake's reader, timed at each answer."""

import time
from importlib import import_module

from cluster.artifacts import verify
from cluster.contracts import Batch, Method, PredictReply, Signature, VersionRef
from cluster.errors import ModelUnavailable, PlatformError, PredictionFailed, UploadRefused
from cluster.scheduling import behind_others
from cluster.settings import Settings
from cluster.tracing import span
from deployments.engines.loaded import LoadedModel
from deployments.intake.operator_names import limits_of, read_extra_names

#: Weight of the newest measurement in the expected cost of a row.
_COST_WEIGHT = 0.2


class ServedModel:
    """A loaded model and what its answers have cost."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._cost_per_row_s: dict[Method, float] = {}

    @property
    def memory_bytes(self) -> int:
        """Bytes that the model keeps in memory."""
        return self._model.memory_bytes

    def expected_s(self, method: Method, rows: int) -> float:
        """Seconds that ``rows`` rows will take; infinite before the first answer."""
        return self._cost_per_row_s.get(method, float("inf")) * rows

    def answer(self, method: Method, batch: Batch, replica_id: str) -> PredictReply:
        """
        The engine's answer and its cost.

        Raises:
            PredictionFailed: The model raised; the library's text is in the context alone.
        """
        started_s = time.perf_counter()
        try:
            with span("model", method=method, rows=batch.rows):
                values, engine = self._model.run(method, batch)
        except PlatformError:
            raise
        except Exception as error:
            # Whatever an estimator raises is its own failure, never the platform's.
            raise PredictionFailed(
                f"the model fails on this input ({method})", method=method, cause=repr(error)[:500]
            ) from error
        cost_s = time.perf_counter() - started_s
        per_row_s = cost_s / max(batch.rows, 1)
        before_s = self._cost_per_row_s.get(method, per_row_s)
        self._cost_per_row_s[method] = before_s + _COST_WEIGHT * (per_row_s - before_s)
        return PredictReply(values=values, cost_s=cost_s, engine=engine, replica_id=replica_id)


def load_libraries() -> None:
    """
    Import what models are built with; takes seconds, behind replicas that answer.

    Not at the top: Serve imports the deployments' modules once more on the way of every deploy.
    """
    behind_others(lambda: import_module("deployments.intake.reader"))


def build_served_model(
    content: bytes, version: VersionRef, signature: Signature, settings: Settings
) -> ServedModel:
    """
    The model in vetted bytes, through the same gates as at its upload.  Blocks.

    Raises:
        ArtifactCorrupt: The bytes are not those of the version's digest.
        ModelUnavailable: The reader refuses it, or memory does not suffice.
    """
    from deployments.intake.reader import read_model

    verify(content, version.sha256, version.size_bytes)
    try:
        with span("load model", model=version.model_id, version=version.version):
            estimator = read_model(
                content,
                version.format,
                limits=limits_of(settings),
                extra_names=read_extra_names(settings),
            )
        return ServedModel(LoadedModel.build(estimator, signature, version.engines))
    except UploadRefused as error:
        raise ModelUnavailable(
            f"this server cannot build the model any more: {error.message}", model=version.key
        ) from error
    except MemoryError as error:
        raise ModelUnavailable(
            "there is not enough memory to load the model now: try again", retry_after_s=5
        ) from error
