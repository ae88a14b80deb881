"""What comes down the three pipes of one vetting job: its verdict, what it prints, how it ended."""

import os
import select
import time
from dataclasses import dataclass

from cluster.errors import ReplicaUnavailable
from deployments.intake.protocol import (
    MAX_NOTICE_BYTES,
    MAX_VERDICT_BYTES,
    BrokenFrame,
    parse_object,
    split_frames,
)

#: At most one frame of JSON and one of bytes.
_VERDICT_FRAMES = 2
#: Read at once: as much as a pipe is made to hold.
READ_BYTES = 1 << 20
#: What a child printed is kept for the log, its tail only.
PRINTED_TAIL_BYTES = 8 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How one child ended."""

    #: The verdict's JSON, uncut; ``None`` if the child wrote none or too much.
    verdict: bytes | None
    #: Exit code, or minus the signal's number; ``None`` where nobody could tell.
    code: int | None
    cpu_s: float
    is_timed_out: bool
    #: Seconds that an ended child had waited for a core.
    starved_s: float = 0.0
    #: The child wrote more than a verdict may hold, and was ended for it.
    is_overflown: bool = False
    printed: bytes = b""
    #: The bytes that came along with the verdict.
    blob: bytes = b""


class Watch:
    """Collects what comes down the three pipes of a job."""

    def __init__(self, *, verdict: int, printed: int, status: int) -> None:
        self._received = {verdict: bytearray(), printed: bytearray(), status: bytearray()}
        self._verdict, self._printed, self._status = verdict, printed, status
        self._open = set(self._received)
        self.is_overflown = False

    def until_end(self, timeout_s: float) -> bool:
        """Whether all pipes ended in time, and before the verdict became too long."""
        deadline_s = time.monotonic() + timeout_s
        was_overflown = self.is_overflown
        while self._open:
            if self.is_overflown and not was_overflown:
                return False
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            poll = select.poll()
            for descriptor in self._open:
                poll.register(descriptor, select.POLLIN)
            for descriptor, _ in poll.poll(left_s * 1000):
                self._receive(descriptor)
        return True

    def _receive(self, descriptor: int) -> None:
        part = os.read(descriptor, READ_BYTES)
        if not part:
            self._open.discard(descriptor)
            return
        received = self._received[descriptor]
        received += part
        if descriptor == self._printed:
            del received[:-PRINTED_TAIL_BYTES]
        elif len(received) > MAX_VERDICT_BYTES:
            self.is_overflown = True
            self._open.discard(descriptor)

    def outcome(self, *, is_timed_out: bool) -> Outcome:
        """
        How the job ended.

        Raises:
            ReplicaUnavailable: Nobody reported its end: the zygote is gone.
        """
        status = self._frames(self._status, max_bytes=MAX_NOTICE_BYTES)
        if not status:
            raise lost()
        ended = parse_object(status[0])
        frames = self._frames(self._verdict, max_bytes=MAX_VERDICT_BYTES)
        if len(frames) > _VERDICT_FRAMES:
            frames = []
        return Outcome(
            verdict=frames[0] if frames else None,
            blob=frames[1] if len(frames) == _VERDICT_FRAMES else b"",
            code=ended["code"],
            cpu_s=ended["cpu_s"],
            starved_s=ended["starved_s"],
            is_timed_out=is_timed_out,
            is_overflown=self.is_overflown,
            printed=bytes(self._received[self._printed]),
        )

    def _frames(self, descriptor: int, *, max_bytes: int) -> list[bytes]:
        """What came down one pipe; nothing where it is broken."""
        try:
            return split_frames(self._received[descriptor], max_bytes=max_bytes)
        except BrokenFrame:
            return []


def lost() -> ReplicaUnavailable:
    """The error of a job whose zygote went away."""
    return ReplicaUnavailable(
        "the vetting sandbox was lost while this file was in it: try again", retry_after_s=2
    )
