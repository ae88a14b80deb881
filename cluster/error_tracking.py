"""
Errors as events to Sentry, where SENTRY_DSN names one; without it nothing is imported.

An event is what is left after everything else was taken away: where the code stood, the kind of
error, the sentence as written in our source (never what was put into it), release, environment,
process, request id, model and version.  No body, header, local variable, argument or foreign
error's text, any of which may hold what a caller sent.
"""

import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cluster.errors import ArtifactCorrupt, PlatformError
from cluster.logs import PACKAGES
from cluster.request_context import request_facts_var, request_id_var
from cluster.settings import Settings

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

#: Serve logs there what a replica's method raised.
SERVE_LOGGER = "ray.serve"
#: An error storm costs each process this many events a minute and no more.
EVENTS_PER_MINUTE = 30
#: Seconds that the end of a process may wait for its last events.
SHUTDOWN_S = 2.0
#: What an event may keep; ``extra``, ``contexts``, ``request``, ``user`` and the rest go.
_KEPT = ("event_id", "timestamp", "platform", "level", "logger", "release", "environment", "sdk")
#: Members of a stack frame: where, never with which values.
_FRAME = ("filename", "abs_path", "function", "module", "lineno", "in_app", "context_line")


class Allowance:
    """So many a minute; the others are counted."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._left = float(per_minute)
        self._filled_at = clock()

    def take(self) -> bool:
        """Whether one more may pass now."""
        now = self._clock()
        gained = (now - self._filled_at) * self._per_minute / 60
        self._left = min(float(self._per_minute), self._left + gained)
        self._filled_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def configure_error_tracking(settings: Settings, process: str) -> bool:
    """
    Send this process's errors to Sentry if there is a DSN; call it once its logs are configured.

    Returns:
        Whether events will be sent.
    """
    if settings.sentry_dsn is None or not settings.sentry_dsn.get_secret_value():
        return False
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.logging import EventHandler

    sentry_sdk.init(
        dsn=settings.sentry_dsn.get_secret_value(),
        release=f"slipway@{settings.version}",
        environment=settings.sentry_environment or settings.environment,
        # None that patches libraries: each would cost every request, and gather what it carries.
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[AtexitIntegration(callback=lambda _pending, _timeout: None)],
        include_local_variables=False,
        max_breadcrumbs=0,
        auto_session_tracking=False,
        send_client_reports=False,
        shutdown_timeout=SHUTDOWN_S,
        before_send=lambda event, hint: scrubbed(event, hint, process),
    )
    allowance = Allowance(EVENTS_PER_MINUTE)
    handler = EventHandler(level=logging.ERROR)
    handler.addFilter(lambda record: is_ours_to_mend(record) and allowance.take())
    for name in (*PACKAGES, SERVE_LOGGER):
        logging.getLogger(name).addHandler(handler)
    return True


def is_ours_to_mend(record: logging.LogRecord) -> bool:
    """Whether an ERROR tells of a fault of the platform; a refused upload, say, is none."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, PlatformError):
        return True
    # A subclass is an answer that somebody foresaw, but for the one about our own disks.
    return type(error) is PlatformError or isinstance(error, ArtifactCorrupt)


def scrubbed(event: "Event", _hint: "Hint", process: str) -> "Event":
    """What may leave the house of an event; a list of what stays, so that nothing slips by."""
    given: Mapping[str, Any] = event
    kept: dict[str, Any] = {name: given[name] for name in _KEPT if name in given}
    facts = request_facts_var.get()
    tags = {
        "process": process,
        "request_id": request_id_var.get(),
        "model": facts.model_id if facts else None,
        "version": facts.version if facts else None,
        "python": ".".join(map(str, sys.version_info[:3])),
    }
    kept["tags"] = {name: str(value) for name, value in tags.items() if value}
    logger = str(given.get("logger", ""))
    if logger.split(".", maxsplit=1)[0] in PACKAGES:
        kept["logentry"] = {"message": str(given.get("logentry", {}).get("message", ""))}
    if errors := given.get("exception", {}).get("values"):
        kept["exception"] = {"values": [_error(error) for error in errors]}
    return kept  # type: ignore[return-value]  # a TypedDict of the members above


def _error(error: Mapping[str, Any]) -> dict[str, Any]:
    kept = {"type": error.get("type"), "module": error.get("module")}
    if str(error.get("module")) == PlatformError.__module__:
        kept["value"] = error.get("value")
    if frames := (error.get("stacktrace") or {}).get("frames"):
        kept["stacktrace"] = {
            "frames": [{name: frame.get(name) for name in _FRAME} for frame in frames]
        }
    return kept
