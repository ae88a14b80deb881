"""Where a request came from, and the audit events of accounts that say so."""

from dataclasses import dataclass

from serve_app.registry import audit
from serve_app.registry.database import Session
from serve_app.registry.users import Account
from serve_app.security.principals import Principal


@dataclass(frozen=True, kw_only=True, slots=True)
class Whereabouts:
    """Where a request came from, for the audit trail."""

    address: str | None
    request_id: str


def note(
    session: Session,
    action: str,
    account: Account,
    where: Whereabouts,
    *,
    actor: Principal | None = None,
) -> None:
    """Write an event about an account, done by its owner unless ``actor`` says otherwise."""
    audit.record(
        session,
        actor=account.email if actor is None else actor.email,
        actor_id=account.id if actor is None else actor.user_id,
        action=action,
        target_type="user",
        target_id=account.id,
        address=where.address,
        request_id=where.request_id,
    )
