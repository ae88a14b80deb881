"""
What was asked and answered during a run, and whether it can have been right.

    every answer's value is that of the version it names          else: wrong
    asked after a promotion was acknowledged: that version or a later one   else: stale
    asked with a key whose revocation was acknowledged ``REVOKED_BOUND_S`` ago: refused
    what an upload was acknowledged for is there at the end, and answers
"""

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

#: design.md §4: writes are applied everywhere after 2 s at most; 10 s where a replica was cut off.
REVOKED_BOUND_S = 10.0


def value_of(version: int, x: float) -> float:
    """What version ``version`` of the model under test answers to ``x``."""
    return x + 1000.0 * version


@dataclass(kw_only=True)
class Prediction:
    """One request, with times in seconds since the start of the run."""

    due_s: float
    sent_s: float
    done_s: float
    x: float
    #: HTTP status; 0 for a connection that failed.
    status: int
    code: str = ""
    version: int = 0
    value: float = math.nan
    #: Which key it carried; -1 for the one that is never revoked.
    key: int = -1

    @property
    def latency_s(self) -> float:
        """From when it was due, so that a stalled loader counts against the platform."""
        return self.done_s - self.due_s

    @property
    def is_right(self) -> bool:
        """Whether the answer is that of the version it names."""
        return math.isclose(self.value, value_of(self.version, self.x), rel_tol=1e-9, abs_tol=1e-6)


@dataclass(frozen=True, kw_only=True)
class Harm:
    """One fault, with times in seconds since the start of the run."""

    began_s: float
    ended_s: float
    what: str


@dataclass(kw_only=True)
class History:
    """One run."""

    predictions: list[Prediction] = field(default_factory=list)
    #: Version number -> when its promotion was acknowledged.
    promoted: dict[int, float] = field(default_factory=dict)
    #: Key number -> when its revocation was acknowledged.
    revoked: dict[int, float] = field(default_factory=dict)
    #: Versions whose upload was acknowledged.
    uploaded: set[int] = field(default_factory=set)
    #: Versions that were there at the end and answered rightly.
    found: set[int] = field(default_factory=set)
    #: What the nemesis did.
    faults: list[Harm] = field(default_factory=list)
    #: Status and code, or what was raised -> writes that were not acknowledged for it.
    refusals: Counter[str] = field(default_factory=Counter)

    @property
    def plain(self) -> list[Prediction]:
        """Predictions with the key that is never revoked."""
        return [prediction for prediction in self.predictions if prediction.key < 0]

    @property
    def failed(self) -> list[Prediction]:
        """Those of them that were not answered."""
        return [prediction for prediction in self.plain if prediction.status != 200]

    def violations(self) -> list[str]:
        """What must never happen and did; empty for a run that was right."""
        return [*self._wrong(), *self._stale(), *self._revoked_but_served(), *self._lost()]

    def _answered(self) -> list[Prediction]:
        return [found for found in self.predictions if found.status == 200]

    def _wrong(self) -> list[str]:
        return [
            f"wrong: {found.value} from version {found.version} for {found.x} at {found.sent_s:.2f}"
            for found in self._answered()
            if not found.is_right
        ]

    def _stale(self) -> list[str]:
        stale = []
        for found in self._answered():
            known = [
                v for v, acknowledged_s in self.promoted.items() if acknowledged_s < found.sent_s
            ]
            if found.version < max(known, default=0):
                stale.append(
                    f"stale: version {found.version} at {found.sent_s:.2f}, {max(known)} promoted"
                )
        return stale

    def _revoked_but_served(self) -> list[str]:
        return [
            f"revoked key {found.key} served at {found.sent_s:.2f}"
            for found in self._answered()
            if found.sent_s > self.revoked.get(found.key, math.inf) + REVOKED_BOUND_S
        ]

    def _lost(self) -> list[str]:
        return [f"lost: version {version}" for version in sorted(self.uploaded - self.found)]

    def report(self) -> dict[str, Any]:
        """The run in figures, JSON-safe."""
        latencies = sorted(found.latency_s for found in self.plain)
        answers = sorted(found.done_s - found.sent_s for found in self.plain)
        late = sorted(found.sent_s - found.due_s for found in self.plain)
        codes = Counter(f"{found.status} {found.code}".strip() for found in self.failed)
        return {
            "predictions": len(self.plain),
            "failed": len(self.failed),
            "failures": dict(codes),
            "violations": self.violations(),
            "p50_ms": _rank_ms(latencies, 0.5),
            "p99_ms": _rank_ms(latencies, 0.99),
            "p999_ms": _rank_ms(latencies, 0.999),
            "max_ms": _rank_ms(latencies, 1.0),
            # Where this is large the loader was starved, and the figures above are its own.
            "sent_late_p99_ms": _rank_ms(late, 0.99),
            "from_sending_p50_ms": _rank_ms(answers, 0.5),
            "from_sending_p99_ms": _rank_ms(answers, 0.99),
            "from_sending_max_ms": _rank_ms(answers, 1.0),
            "uploads_acknowledged": len(self.uploaded),
            "promotions": len(self.promoted),
            "keys_revoked": len(self.revoked),
            "writes_refused": self.refusals.total(),
            "refusals": dict(self.refusals),
            "faults": [
                {
                    "at_s": round(harm.began_s, 2),
                    "until_s": round(harm.ended_s, 2),
                    "what": harm.what,
                }
                for harm in self.faults
            ],
            "first_failures": [asdict(found) for found in self.failed[:10]],
        }


def _rank_ms(ordered_s: list[float], share: float) -> float:
    if not ordered_s:
        return 0.0
    return round(1000 * ordered_s[max(math.ceil(share * len(ordered_s)) - 1, 0)], 1)
