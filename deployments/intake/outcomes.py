"""What a child's end means: a report, a refusal with its reason, or how a replay went."""

import logging
import signal
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from cluster.contracts import JsonObject, VetReport
from cluster.errors import Overloaded, PlatformError, UploadRefused
from deployments.intake.job_watch import Outcome
from deployments.intake.protocol import BrokenFrame, parse_object
from deployments.intake.verdict import error_from_json, report_from_json

#: A child that waited for a core during so much of its time says nothing about its file.
STARVED_SHARE = 0.5
BUSY_RETRY_AFTER_S = 30
Reason = Literal["crash", "cpu", "memory", "timeout", "depth", "error", "verdict"]
logger = logging.getLogger(__name__)
_MEMORY_WORDS = (b"MemoryError", b"bad_alloc", b"Cannot allocate memory", b"out of memory")
_MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """How one batch ended on one model in the sandbox."""

    #: True only if the process died by the model's own doing: not for memory, CPU or time.
    is_crash: bool
    reason: Literal["answered", "raised", "crash", "cpu", "memory", "timeout"]


def report_of(outcome: Outcome, *, wall_clock_s: float, memory_bytes: int) -> VetReport:
    """
    The report in a child's verdict.

    Raises:
        UploadRefused: The verdict is a refusal, or there is none: gate "sandbox" and a reason.
        InvalidInput: The verdict says that the examples are malformed.
        Overloaded: Predictions took the cores; the file is as unknown as before.
    """
    reason = _reason_without_verdict(outcome)
    if reason == "timeout" and outcome.starved_s > STARVED_SHARE * wall_clock_s:
        raise Overloaded(
            "the server is too busy with predictions to check the file: send it again later",
            retry_after_s=BUSY_RETRY_AFTER_S,
        )
    if reason is None:
        try:
            return _report_in(parse_object(outcome.verdict or b""), outcome.blob)
        except _Failed as failed:
            reason = failed.reason
        except BrokenFrame:
            reason = "verdict"
    logger.warning(
        "a vetting child ended without a verdict",
        extra={
            "reason": reason,
            "exit_code": outcome.code,
            "cpu_s": outcome.cpu_s,
            "printed": outcome.printed.decode(errors="replace"),
        },
    )
    sentence = _SENTENCES[reason].format(seconds=wall_clock_s, mebibytes=memory_bytes // _MIB)
    raise UploadRefused(sentence, gate="sandbox", reason=reason)


def replay_of(outcome: Outcome) -> Replay:
    """How the batch ended; a verdict that cannot be read counts as the model having raised."""
    reason = _reason_without_verdict(outcome)
    if reason in ("crash", "cpu", "memory", "timeout"):
        return Replay(is_crash=reason == "crash", reason=reason)
    try:
        verdict = parse_object(outcome.verdict or b"")
    except BrokenFrame:
        verdict = {}
    if verdict.get("failed") == "memory":
        return Replay(is_crash=False, reason="memory")
    is_answered = verdict.get("replay") == "answered"
    return Replay(is_crash=False, reason="answered" if is_answered else "raised")


class _Failed(Exception):
    """The child caught an error that is no refusal."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def _report_in(verdict: JsonObject, blob: bytes) -> VetReport:
    if "report" in verdict and isinstance(verdict["report"], dict):
        return report_from_json(verdict["report"], blob)
    if "error" in verdict:
        refusal: PlatformError = error_from_json(verdict)
        raise refusal
    logger.warning(
        "a vetting child met an unexpected error",
        extra={"type": str(verdict.get("type"))[:100], "text": str(verdict.get("text"))[:500]},
    )
    if verdict.get("failed") == "memory":
        raise _Failed("memory")
    raise _Failed("depth" if verdict.get("failed") == "depth" else "error")


def _reason_without_verdict(outcome: Outcome) -> Reason | None:
    """Why there is no usable verdict; ``None`` if there is one."""
    if outcome.is_timed_out:
        return "timeout"
    if outcome.code == 0 and outcome.verdict is not None:
        return None
    if outcome.code == 0 or outcome.is_overflown:
        return "verdict"
    if outcome.code == -signal.SIGXCPU:
        return "cpu"
    if outcome.code == -signal.SIGKILL:  # by the kernel: the machine ran out of memory
        return "memory"
    if any(words in outcome.printed for words in _MEMORY_WORDS):
        return "memory"
    return "crash"


_SENTENCES: dict[str, str] = {
    "timeout": "checking the file took more than {seconds:.0f} s: upload a smaller model",
    "cpu": "checking the file used up its processor time: upload a smaller or simpler model",
    "memory": "the model needs more than the {mebibytes} MiB that one may take while it is "
    "checked: upload a smaller one, or have the operator raise MAX_MODEL_BYTES",
    "depth": "the file nests objects too deeply: save the fitted estimator alone",
    "crash": "loading or trying the model crashed its process: fit and save it again with "
    f"scikit-learn {version('scikit-learn')} and numpy {version('numpy')}",
    "error": "the file could not be read as a model: fit and save it again with scikit-learn, "
    "best with skops.io.dump",
    "verdict": "checking the file gave no usable answer: fit and save the model again",
}
