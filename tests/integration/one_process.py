"""The services over a real Loader and Predictor in this process, without Ray."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from cluster.settings import Settings
from deployments.loader import Loader
from deployments.predictor import Predictor
from serve_app.local import LocalLoaders, LocalPredictors
from serve_app.security.accounts import Accounts
from serve_app.security.lockout import Lockout
from serve_app.security.passwords import Passwords
from serve_app.services import Services, build_services


def services_over(settings: Settings, loader: Loader, *, replica_id: str) -> Services:
    """Services, not started, that ask this Loader and a Predictor of their own."""
    return build_services(
        settings,
        predictors=LocalPredictors(Predictor(loader, settings=settings)),
        loaders=LocalLoaders(loader),
        replica_id=replica_id,
    )


@asynccontextmanager
async def running_services(settings: Settings, *, replica_id: str) -> AsyncIterator[Services]:
    """Started services with a Loader that vets in its own sandbox; all is closed afterwards."""
    loader = Loader(settings=settings)
    services = services_over(settings, loader, replica_id=replica_id)
    await services.start()
    try:
        yield services
    finally:
        await services.close()
        loader.close()


def with_quick_passwords(services: Services, settings: Settings) -> Services:
    """The same services with passwords that take no time."""
    services.passwords.close()
    passwords = Passwords(memory_kib=64, passes=1)
    lockout = Lockout(
        services.limits.scripts, limit=settings.login_rate_limit, prefix=settings.redis_prefix
    )
    accounts = Accounts(
        settings=settings,
        database=services.database,
        follower=services.follower,
        tokens=services.tokens,
        passwords=passwords,
        lockout=lockout,
    )
    return replace(services, passwords=passwords, accounts=accounts)
