"""
Every error a caller can meet, defined once and without any framework.

Those of a request's form, before anybody asks what it means, are in ``request_errors``.

    PlatformError                    internal
      InvalidInput                   invalid_input
      PredictionFailed               prediction_failed
      NonFiniteOutput                non_finite_output
      NotAuthenticated               not_authenticated
      NotPermitted                   not_permitted
      NotFound                       not_found
        ModelNotFound                model_not_found
      Conflict                       conflict
        ModelConflict                model_conflict
      UploadRefused                  upload_refused (or the gate's own code)
      TooLarge                       too_large
      RateLimited                    rate_limited
      QuotaExceeded                  quota_exceeded
      Overloaded                     overloaded
      ModelLoading                   model_loading
      ModelUnavailable               model_unavailable
      ReplicaUnavailable             replica_unavailable
      ModelQuarantined               model_quarantined
      RegistryUnavailable            registry_unavailable
      StorageFull                    storage_full
      ArtifactCorrupt                artifact_corrupt
      DeadlineExceeded               deadline_exceeded
      InsecureSettings               insecure_settings

Subclasses set ``code`` and a docstring and never define ``__init__``: an instance must survive
pickle and the class that Ray derives from it on the way through a replica.  The status of each
lives in ``serve_app/api/errors.py`` alone.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

#: More faults than this are counted by the caller's eyes no better than a summary.
MAX_DETAILS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One field at fault: where (JSON Pointer into the request body), what kind, in words."""

    path: str
    code: str
    message: str


class PlatformError(Exception):
    """Something failed inside the platform; the caller can only retry or report the request id."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str = "", /, **context: object) -> None:
        super().__init__(message)
        self.message = message
        self.context: dict[str, object] = context

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.context)

    @property
    def public_code(self) -> str:
        """Stable code for the response; ``context["code"]`` refines the class's own."""
        refined = self.context.get("code")
        return refined if isinstance(refined, str) else self.code

    @property
    def details(self) -> list[dict[str, str]]:
        """Fields at fault as JSON objects, at most ``MAX_DETAILS`` of them."""
        faults = self.context.get("details", ())
        if not isinstance(faults, Sequence):
            return []
        return [asdict(fault) for fault in faults[:MAX_DETAILS] if isinstance(fault, Fault)]

    @property
    def retry_after_s(self) -> float | None:
        """Seconds after which the same request may succeed, where that is known."""
        seconds = self.context.get("retry_after_s")
        return float(seconds) if isinstance(seconds, (int, float)) else None


def _rebuild(cls: type[PlatformError], message: str, context: dict[str, object]) -> PlatformError:
    error = cls(message)
    error.context = context
    return error


class InvalidInput(PlatformError):
    """The request is well formed and wrong; the sentence says what to change."""

    code = "invalid_input"


class PredictionFailed(PlatformError):
    """The model raised on an input that its signature allows."""

    code = "prediction_failed"


class NonFiniteOutput(PlatformError):
    """The model answered NaN or an infinity where the protocol has no way to say so."""

    code = "non_finite_output"


class NotAuthenticated(PlatformError):
    """No credential, or one that is unknown, revoked or expired: the answer is the same."""

    code = "not_authenticated"


class NotPermitted(PlatformError):
    """The caller is known and lacks the role or the scope."""

    code = "not_permitted"


class NotFound(PlatformError):
    """Nothing of that name that the caller may see."""

    code = "not_found"


class ModelNotFound(NotFound):
    """No such model, version or alias, or one that the caller may not see."""

    code = "model_not_found"


class Conflict(PlatformError):
    """The request contradicts what exists."""

    code = "conflict"


class ModelConflict(Conflict):
    """A name is taken, or a version is still named by an alias."""

    code = "model_conflict"


class UploadRefused(PlatformError):
    """A gate of the intake refused the file; context: gate, code, name, advice."""

    code = "upload_refused"


class TooLarge(PlatformError):
    """More bytes than the bound; the sentence names the bound."""

    code = "too_large"


class RateLimited(PlatformError):
    """The caller's own rate limit; Retry-After says when to come back."""

    code = "rate_limited"


class QuotaExceeded(PlatformError):
    """The caller's own quota of models, bytes or keys."""

    code = "quota_exceeded"


class Overloaded(PlatformError):
    """A bounded queue of ours is full."""

    code = "overloaded"


class ModelLoading(PlatformError):
    """The version is being loaded and did not make the deadline."""

    code = "model_loading"


class ModelUnavailable(PlatformError):
    """The version's bytes cannot be read now; other models are unaffected."""

    code = "model_unavailable"


class ReplicaUnavailable(PlatformError):
    """No replica could take the request within its deadline."""

    code = "replica_unavailable"


class ModelQuarantined(PlatformError):
    """The version crashed its replica and is held back until somebody releases it."""

    code = "model_quarantined"


class RegistryUnavailable(PlatformError):
    """PostgreSQL is away; predictions go on, writes do not."""

    code = "registry_unavailable"


class StorageFull(PlatformError):
    """Too little disk is left to take the file in safely."""

    code = "storage_full"


class ArtifactCorrupt(PlatformError):
    """Stored bytes differ from their checksum: our fault, never the caller's."""

    code = "artifact_corrupt"


class DeadlineExceeded(PlatformError):
    """The request's deadline passed before the answer came."""

    code = "deadline_exceeded"


class InsecureSettings(PlatformError):
    """The settings would make an unsafe service; the message names every fault."""

    code = "insecure_settings"
