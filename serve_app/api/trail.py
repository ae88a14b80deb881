"""What an HTTP request did, as the audit trail keeps it: by whom, from where, under which id."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends

from cluster.contracts import JsonObject
from cluster.request_context import request_id_var
from serve_app.api.deps import ClientAddress, CurrentPrincipal
from serve_app.registry import audit
from serve_app.registry.database import Session
from serve_app.security.principals import Principal


@dataclass(frozen=True, kw_only=True, slots=True)
class Trail:
    """Writes events of one request."""

    principal: Principal
    address: str | None
    request_id: str

    def note(
        self,
        session: Session,
        action: str,
        target_type: str,
        target_id: str,
        **details: object,
    ) -> None:
        """Write an event in the transaction that does the thing."""
        facts: JsonObject = dict(details)
        if self.principal.key_id is not None:
            facts["key_id"] = self.principal.key_id
        audit.record(
            session,
            actor=self.principal.email,
            actor_id=self.principal.user_id,
            action=action,
            target_type=target_type,
            target_id=target_id,
            address=self.address,
            request_id=self.request_id,
            details=facts,
        )


def _trail(principal: CurrentPrincipal, address: ClientAddress) -> Trail:
    return Trail(principal=principal, address=address, request_id=request_id_var.get())


CurrentTrail = Annotated[Trail, Depends(_trail)]
