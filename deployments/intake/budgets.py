"""What one file has spent of its limits, shared by the outer stream and every nested one."""

from dataclasses import dataclass, field

from deployments.intake.limits import Limits
from deployments.intake.refusals import refusal


@dataclass(kw_only=True, slots=True)
class Budget:
    """Running totals of one file; each ``spend_`` refuses with reason "budget" when over."""

    limits: Limits = field(default_factory=Limits)
    opcodes: int = 0
    memo: int = 0
    array_bytes: int = 0
    object_elements: int = 0

    def spend_array_bytes(self, count: int) -> None:
        """Charge ``count`` bytes of array data."""
        self.array_bytes += count
        if self.array_bytes > self.limits.max_array_bytes:
            raise over(f"arrays of more than {self.limits.max_array_bytes} bytes")

    def spend_object_elements(self, count: int) -> None:
        """Charge ``count`` elements of an object array."""
        self.object_elements += count
        if self.object_elements > self.limits.max_object_elements:
            raise over(f"more than {self.limits.max_object_elements} objects in arrays")

    def spend_memo(self, key: int) -> None:
        """Charge one memo entry; ``key`` itself is bounded too."""
        self.memo += 1
        if key > self.limits.max_memo or self.memo > self.limits.max_memo:
            raise over(f"a memo beyond {self.limits.max_memo} entries")


def over(what: str) -> Exception:
    """The refusal of a file that holds ``what``."""
    return refusal(
        f"gate2: the file holds {what}: make the model smaller or ask the operator for a larger "
        "MAX_MODEL_BYTES",
        gate="gate2",
        reason="budget",
    )
