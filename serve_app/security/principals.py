"""Who is calling and what they may do; a value that every layer above the registry passes on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from cluster.errors import NotPermitted
from cluster.request_context import request_facts_var

Role = Literal["member", "publisher", "admin"]
Scope = Literal["predict", "models:read", "models:write", "keys", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
#: What a key gets that was made without ``scopes``.
DEFAULT_SCOPES: tuple[Scope, ...] = ("predict",)
#: Scopes that a role does not have, whatever the credential says.
_ROLE_LACKS: dict[str, frozenset[str]] = {
    "member": frozenset({"admin"}),
    "publisher": frozenset({"admin"}),
    "admin": frozenset(),
}
_NO_LIMITS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """A caller whose credential holds: a user's session, or one of their API keys."""

    user_id: str
    email: str
    role: str
    #: None for a session, which may do all that the role allows.
    scopes: frozenset[str] | None = None
    #: Model ids that the credential is tied to; None for all.
    models: frozenset[str] | None = None
    #: None for a session.
    key_id: str | None = None
    #: The refresh family of a session; None for a key.
    session_id: str | None = None
    #: Requests a minute of a key with a bucket of its own; None shares the owner's.
    rate_limit: int | None = None
    #: An admin's overrides for this user: rate_limit, max_models, max_bytes, max_keys.
    limits: Mapping[str, int] = field(default_factory=lambda: _NO_LIMITS)

    @property
    def is_admin(self) -> bool:
        """True for an admin whose credential carries that power."""
        return self.has("admin")

    @property
    def is_session(self) -> bool:
        """True for somebody who signed in, false for an API key."""
        return self.key_id is None

    def has(self, scope: str) -> bool:
        """Whether both the credential and the role allow ``scope``."""
        if self.scopes is not None and scope not in self.scopes:
            return False
        return scope not in _ROLE_LACKS.get(self.role, frozenset(SCOPES))

    def require(self, scope: str) -> None:
        """
        Return if the caller has ``scope``.

        Raises:
            NotPermitted: Saying whether the role or the key lacks it.
        """
        if self.has(scope):
            return
        if scope in _ROLE_LACKS.get(self.role, frozenset(SCOPES)):
            raise NotPermitted(
                f"the role {self.role!r} does not allow this: ask an administrator", scope=scope
            )
        raise NotPermitted(
            f"this API key lacks the scope {scope!r}: make a key that has it, or sign in",
            scope=scope,
        )

    def require_session(self) -> None:
        """
        Return if the caller signed in.

        Raises:
            NotPermitted: If the credential is an API key.
        """
        if not self.is_session:
            raise NotPermitted("an API key cannot do this: sign in and use the access token")

    def limit(self, name: str, default: int) -> int:
        """An admin's override of the limit ``name`` for this user, or ``default``."""
        return self.limits.get(name, default)


def note_caller(principal: Principal) -> None:
    """Let the access log and error events know who calls, by id."""
    if (facts := request_facts_var.get()) is not None:
        facts.user_id = principal.user_id
        facts.key_id = principal.key_id
