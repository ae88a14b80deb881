"""What the prediction use case asks of others, and what it tells those who watch."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from cluster.contracts import Batch, Method
from serve_app.registry.resolution import ResolvedVersion
from serve_app.security.principals import Principal


class Resolver(Protocol):
    """The catalog as a prediction needs it."""

    async def resolve(
        self, principal: Principal, model: str, version: str | int | None, /
    ) -> ResolvedVersion:
        """The version that the name means to this caller; raises ModelNotFound."""
        ...


class ShortPath(Protocol):
    """Engines small and safe enough to answer in this process."""

    def find_engine(
        self, resolved: ResolvedVersion, method: Method, rows: int, /
    ) -> Callable[[Batch], NDArray[Any]] | None:
        """What answers that many rows without a hop, or ``None``."""
        ...


class ResultCache(Protocol):
    """Answers kept for versions that are dear to ask."""

    async def find_or_compute(
        self,
        resolved: ResolvedVersion,
        method: Method,
        batch: Batch,
        compute: Callable[[], Awaitable[NDArray[Any]]],
        /,
    ) -> NDArray[Any]:
        """The kept answer to this very batch, or that of ``compute``."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One prediction as the observers see it."""

    resolved: ResolvedVersion
    method: str
    rows: int
    seconds: float
    #: "ok" or the error's public code.
    code: str


Observer = Callable[[Outcome], None]
