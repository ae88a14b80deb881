"""What an ingress learns before its first request, so that an outage right after costs nobody."""

import asyncio
import logging

from cluster.errors import PlatformError
from serve_app.registry.catalog import Catalog
from serve_app.registry.changes import ChangeFollower
from serve_app.security.identities import Identities

logger = logging.getLogger(__name__)

#: Seconds to wait for a registry that is away.  A replica without it refuses everybody, and others
#: may know the callers: it had better come late.  After that it comes all the same.
PATIENCE_S = 15.0


async def warm_start(
    follower: ChangeFollower,
    identities: Identities,
    catalog: Catalog,
    *,
    patience_s: float = PATIENCE_S,
) -> None:
    """Return once the callers and models of the last hour are known, or after ``patience_s``."""
    try:
        async with asyncio.timeout(patience_s):
            await follower.wait_live()
            keys, models = await identities.preload(), await catalog.preload()
    except (PlatformError, TimeoutError) as error:
        logger.warning(
            "starting without the registry; callers are looked up as they come: %s",
            error or "it does not answer",
            extra={"action": "cold_start"},
        )
    else:
        logger.info("%d keys and %d models of the last hour are known", keys, models)
