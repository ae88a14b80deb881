"""Moving an alias, which both the alias route and an upload with ``promote`` do."""

from collections.abc import Callable

from serve_app.api.trail import Trail
from serve_app.promotion import warm
from serve_app.registry import aliases, versions
from serve_app.registry.database import Session
from serve_app.registry.names import PRODUCTION, check_alias
from serve_app.registry.records import AliasRecord, VersionRecord
from serve_app.registry.visibility import get_row_to_change
from serve_app.security.principals import Principal
from serve_app.services import Services


async def move_alias(
    services: Services,
    trail: Trail,
    model: str,
    alias: str,
    version: int,
    *,
    also: Callable[[Session], None] | None = None,
) -> AliasRecord:
    """
    Where the alias points now, on every live replica.

    Args:
        services: Of this replica.
        trail: Of the request; its principal must own the model.
        model: Name or id.
        alias: The alias.
        version: Number of the version.
        also: Work for the same transaction.

    Raises:
        PlatformError: Production was to move and the version could not be loaded; it stayed.
        RegistryUnavailable: It may have moved, and not every replica may follow yet.
    """
    principal = trail.principal
    if check_alias(alias) == PRODUCTION:
        found = await services.database.write(
            lambda session: _version_to_promote(session, principal, model, version)
        )
        if found.value.status == "ready":
            timeout_s = services.settings.request_timeout_s
            await warm(services.predictors, found.value, timeout_s=timeout_s)

    def move(session: Session) -> AliasRecord:
        record = aliases.set_alias(session, principal, model, alias, version)
        trail.note(
            session,
            "alias.move",
            "model",
            record.model_id,
            alias=record.alias,
            version=record.version,
            previous_version=record.previous_version,
        )
        if also is not None:
            also(session)
        return record

    written = await services.database.write(move)
    # Moving it once more does no harm; being told of a move that some have not seen would.
    await services.follower.confirm(written.sequence)
    return written.value


def _version_to_promote(
    session: Session, principal: Principal, model: str, version: int
) -> VersionRecord:
    # Asked as a change: who may only look must not have a version loaded.
    get_row_to_change(session, principal, model)
    return versions.get_version(session, principal, model, version)
