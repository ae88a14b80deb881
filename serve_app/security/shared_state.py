"""What limits need of Valkey, by role; the adapter is in ``limits``."""

from collections.abc import Sequence
from typing import Protocol

#: A bucket holds one minute's worth.
WINDOW_S = 60


class SharedStateAway(Exception):
    """Valkey does not answer; each process counts for itself meanwhile."""


class Scripts(Protocol):
    """Runs Lua where all replicas share it."""

    async def run(
        self, script: str, keys: Sequence[str], arguments: Sequence[int | str], /
    ) -> list[int]:
        """
        The integers that the script returns.

        Raises:
            SharedStateAway: At once, while Valkey is known to be away.
        """
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...
