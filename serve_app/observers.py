"""Who is told of each prediction: the metrics, and the owner's statistics."""

from cluster.metrics import PREDICTION_SECONDS, PREDICTIONS
from serve_app.inference_ports import Observer, Outcome
from serve_app.registry.stats import StatsRecorder

#: Codes that are the caller's to change, hence no error of the model in its owner's statistics.
_CALLERS = frozenset({"ok", "invalid_input", "unknown_method", "too_large", "non_finite_output"})


def count_prediction(outcome: Outcome) -> None:
    """Record the outcome in the metrics; labels are model and version, never a caller."""
    ref = outcome.resolved.ref
    model, version = ref.model_id, str(ref.version)
    PREDICTIONS.record(1, model=model, version=version, code=outcome.code)
    PREDICTION_SECONDS.record(outcome.seconds, model=model, version=version)


def tally_into(recorder: StatsRecorder) -> Observer:
    """An observer that counts in ``recorder`` what ``/stats`` shows."""

    def tally(outcome: Outcome) -> None:
        ref = outcome.resolved.ref
        is_error = outcome.code not in _CALLERS
        recorder.record(ref.model_id, ref.version, outcome.seconds, is_error=is_error)

    return tally
