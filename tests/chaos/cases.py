"""What is proven one fault at a time: which fault, through which door, and what may fail."""

from dataclasses import dataclass
from typing import Literal

from tests.chaos.history import History, Prediction
from tests.chaos.stages import FILL_DISK, SLOW_VALKEY

#: HAProxy is there again after this time at most.
REFUSED_S = 6.0
#: So is everything where Ray's head was lost, with every replica.
RESTARTED_S = 60.0
#: Between the signal and our note of it.
NOTED_S = 0.1

Allowance = Literal["nothing", "in flight", "refused", "restarted"]
_SPANS_S = {"nothing": -1.0, "in flight": NOTED_S, "refused": REFUSED_S, "restarted": RESTARTED_S}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One line of the matrix."""

    name: str
    fault: str
    #: How long what is stopped, slowed or filled stays so.
    stopped_s: float = 30.0
    is_edged: bool = False
    #: Nothing, what was in flight at the signal, or also what was sent within 6 s of it, or 60 s.
    may_fail: Allowance = "nothing"
    #: The status that some write must have been told; empty where none need be refused.
    refused_with: str = ""

    @property
    def stage(self) -> str:
        """Cases of one name share platforms."""
        return self.fault if self.fault in {SLOW_VALKEY, FILL_DISK} else "usual"

    @property
    def outage_s(self) -> float:
        """For how long nothing may be answered; what is proven comes after it."""
        return max(_SPANS_S[self.may_fail], 0.0)

    def unproven(self, history: History) -> list[str]:
        """Why a run does not prove the case; empty where it does."""
        (harm,) = history.faults
        # The nemesis looks for its victim first; a kill is over when its signal is sent.
        is_kill = self.fault.startswith("kill")
        struck_s = harm.ended_s if is_kill else harm.ended_s - self.stopped_s
        reasons = history.violations()
        if found := [one for one in history.failed if not self._may_fail(one, struck_s)]:
            reasons.append(f"{len(found)} predictions failed")
        if not any(promoted_s > harm.ended_s for promoted_s in history.promoted.values()):
            reasons.append("no promotion was acknowledged after the fault")
        if not any(label.startswith(self.refused_with) for label in history.refusals or [""]):
            reasons.append(f"no write was refused with {self.refused_with}")
        return reasons

    def _may_fail(self, failed: Prediction, struck_s: float) -> bool:
        span_s = _SPANS_S[self.may_fail]
        return span_s >= 0 and (
            failed.sent_s <= struck_s + span_s and failed.done_s >= struck_s - NOTED_S
        )


_ALL = (
    Case(name="kill-predictor", fault="kill-predictor"),
    Case(name="kill-controller", fault="kill-controller"),
    Case(name="kill-ingress", fault="kill-ingress", may_fail="in flight"),
    Case(name="kill-ingress-edge", fault="kill-ingress", is_edged=True),
    Case(name="kill-haproxy", fault="kill-haproxy", may_fail="refused"),
    Case(name="kill-haproxy-edge", fault="kill-haproxy", is_edged=True),
    Case(name="stop-predictor", fault="stop-predictor"),
    Case(name="stop-controller", fault="stop-controller"),
    Case(name="stop-ingress", fault="stop-ingress", may_fail="in flight"),
    Case(name="stop-ingress-edge", fault="stop-ingress", is_edged=True),
    Case(name="rolling-update", fault="rolling-update"),
    Case(name="scale", fault="scale"),
    Case(name="stop-postgres", fault="stop-postgres", stopped_s=60.0, refused_with="503"),
    Case(name="stop-valkey", fault="stop-valkey"),
    Case(name="kill-postgres", fault="kill-postgres"),
    Case(name="kill-valkey", fault="kill-valkey"),
    Case(name="kill-head", fault="kill-head", may_fail="restarted"),
    Case(name="slow-valkey", fault=SLOW_VALKEY),
    Case(name="fill-disk", fault=FILL_DISK, refused_with="507"),
)
CASES = {case.name: case for case in _ALL}
