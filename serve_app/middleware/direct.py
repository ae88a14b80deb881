"""Where the Ingress of this process says how predictions are answered before Serve's own layers."""

from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send


class DirectAnswers(Protocol):
    """Answers what it can; hands the rest on."""

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, otherwise: ASGIApp
    ) -> None:
        """Answer a request, or leave it whole to ``otherwise``."""


_installed: DirectAnswers | None = None


def install_direct_answers(answers: DirectAnswers | None) -> None:
    """Let ``answers`` be asked first in this process; ``None`` ends it."""
    global _installed  # noqa: PLW0603 - Serve makes the outermost middleware by import path alone
    _installed = answers


def direct_answers() -> DirectAnswers | None:
    """What was installed here: nothing in the process of a proxy, and nothing without Serve."""
    return _installed
