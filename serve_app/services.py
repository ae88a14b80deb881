"""
What the front works with, opened and closed in one visible place.

    database ─ follower ─┬─ catalog       which version a name means
                         ├─ identities    who is asking
                         └─ model_lists   pages of a user's models
    cache ─ limits       predictors ─ coalescer ─ inference       loaders ─ uploads, vetting, trials
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from cluster.errors import InsecureSettings
from cluster.settings import Settings
from deployments.black_box import box_directory, find_last_words
from serve_app.cache import ValkeyCache
from serve_app.coalescing import Coalescer
from serve_app.inference import Inference
from serve_app.lanes import CoalescerLimits
from serve_app.model_lists import ModelLists
from serve_app.observers import count_prediction, tally_into
from serve_app.ports import Loaders, Predictors
from serve_app.registry.catalog import Catalog
from serve_app.registry.changes import ChangeFollower
from serve_app.registry.charges import Charges
from serve_app.registry.database import Database
from serve_app.registry.stats import StatsRecorder
from serve_app.result_cache import ResultCache
from serve_app.retries import RetryingPredictor
from serve_app.security.accounts import Accounts
from serve_app.security.identities import Identities
from serve_app.security.limits import Limits
from serve_app.security.lockout import Lockout
from serve_app.security.passwords import Passwords
from serve_app.security.tokens import Tokens
from serve_app.short_path import CompiledModels
from serve_app.trials import Trials
from serve_app.uploads import Uploads
from serve_app.vetting import Vetting
from serve_app.warm_start import warm_start


@dataclass(kw_only=True)
class Services:
    """Everything a request may need; made by ``build_services``, or by hand in a test."""

    settings: Settings
    replica_id: str
    database: Database
    cache: ValkeyCache
    follower: ChangeFollower
    catalog: Catalog
    tokens: Tokens
    passwords: Passwords
    identities: Identities
    limits: Limits
    accounts: Accounts
    predictors: Predictors
    loaders: Loaders
    coalescer: Coalescer
    trials: Trials
    inference: Inference
    stats: StatsRecorder
    uploads: Uploads
    vetting: Vetting
    model_lists: ModelLists
    short_path: CompiledModels | None = None
    is_closing: bool = field(default=False)

    @property
    def is_draining(self) -> bool:
        """Whether no new request should come: this replica closes, or the launcher says so."""
        return self.is_closing or self.settings.draining_file.exists()

    async def start(self) -> None:
        """Begin to follow the registry; returns though PostgreSQL or Valkey be away, but later."""
        self.follower.start()
        self.stats.start()
        await self.limits.start()
        await warm_start(self.follower, self.identities, self.catalog)

    async def close(self) -> None:
        """Let what was accepted finish, then let go of every connection."""
        self.is_closing = True
        await self.coalescer.close()
        await self.trials.close()
        if self.short_path is not None:
            await self.short_path.close()
        await self.identities.close()
        await self.limits.close()
        await self.stats.stop()
        await self.follower.stop()
        await self.cache.close()
        await self.database.close()
        self.passwords.close()


def build_services(
    settings: Settings,
    *,
    predictors: Predictors,
    loaders: Loaders,
    replica_id: str,
    coalesce_max_rows: int | None = None,
    predictor_count: Callable[[], int] = lambda: 2,
) -> Services:
    """
    The services over real PostgreSQL and Valkey; nothing is connected yet.

    Args:
        settings: As the Ingress reads them.
        predictors: What answers batches.
        loaders: What vets and releases files.
        replica_id: This replica, in the registry and in the servers' own lists.
        coalesce_max_rows: Rows of one RPC; the coalescer's own bound if unset.
        predictor_count: Predictors there are now; as many RPCs of a version may be under way.

    Raises:
        InsecureSettings: If DATABASE_URL, REDIS_URL or SECRET_KEY is missing.
    """
    client_name = f"slipway-ingress-{replica_id[:24]}"
    registry = _open_registry(settings, replica_id, client_name)
    identity = _identity(settings, registry, client_name)
    catalog = Catalog(registry.database, registry.follower)
    trials = _trials(settings, loaders, registry)
    coalescer = Coalescer(
        RetryingPredictor(predictors, judge=trials),
        limits=CoalescerLimits(max_rows=coalesce_max_rows) if coalesce_max_rows else None,
        replicas=predictor_count,
    )
    short_path = _short_path(settings, loaders)
    return Services(
        settings=settings,
        replica_id=replica_id,
        database=registry.database,
        cache=registry.cache,
        follower=registry.follower,
        catalog=catalog,
        tokens=identity.tokens,
        passwords=identity.passwords,
        identities=Identities(registry.database, identity.tokens, registry.follower),
        limits=identity.limits,
        accounts=identity.accounts,
        predictors=predictors,
        loaders=loaders,
        coalescer=coalescer,
        trials=trials,
        inference=_inference(settings, catalog, coalescer, short_path, registry.stats),
        stats=registry.stats,
        uploads=Uploads.from_settings(settings),
        vetting=Vetting(
            loaders,
            patience_s=settings.request_timeout_s,
            per_user=settings.max_concurrent_vettings_per_user,
        ),
        model_lists=ModelLists(registry.cache, registry.follower),
        short_path=short_path,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Registry:
    """PostgreSQL, what wakes its followers, and what is written to it in passing."""

    database: Database
    cache: ValkeyCache
    follower: ChangeFollower
    stats: StatsRecorder


def _open_registry(settings: Settings, replica_id: str, client_name: str) -> _Registry:
    if settings.redis_url is None:
        raise InsecureSettings("REDIS_URL is not set: set it, or run `slipway services start`")
    database = Database.from_settings(settings, application_name=client_name)
    cache = ValkeyCache(
        settings.redis_url.get_secret_value(),
        settings.redis_prefix,
        client_name=client_name,
        longest_ttl_s=settings.redis_cache_ttl,
    )
    return _Registry(
        database=database,
        cache=cache,
        follower=ChangeFollower(database, replica_id, wake=cache),
        stats=StatsRecorder(database, replica_id),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Identity:
    """Who is asking, and how often they may."""

    tokens: Tokens
    passwords: Passwords
    limits: Limits
    accounts: Accounts


def _identity(settings: Settings, registry: _Registry, client_name: str) -> _Identity:
    tokens = Tokens.from_settings(settings)
    passwords = Passwords()
    limits = Limits.from_settings(settings, client_name=client_name)
    lockout = Lockout(
        limits.scripts,
        limit=settings.login_rate_limit,
        prefix=settings.redis_prefix,
        replicas=settings.workers,
    )
    accounts = Accounts(
        settings=settings,
        database=registry.database,
        follower=registry.follower,
        tokens=tokens,
        passwords=passwords,
        lockout=lockout,
    )
    return _Identity(tokens=tokens, passwords=passwords, limits=limits, accounts=accounts)


def _trials(settings: Settings, loaders: Loaders, registry: _Registry) -> Trials:
    charges = Charges(registry.database, settle=registry.follower.settle)
    last_words = partial(find_last_words, box_directory(settings))
    trials = Trials(loaders, charges, find_last_words=last_words)
    registry.follower.subscribe(trials.on_change)
    return trials


def _inference(
    settings: Settings,
    catalog: Catalog,
    coalescer: Coalescer,
    short_path: CompiledModels | None,
    stats: StatsRecorder,
) -> Inference:
    return Inference(
        catalog=catalog,
        coalescer=coalescer,
        short_path=short_path,
        cache=ResultCache(max_bytes=settings.result_cache_bytes),
        observers=(count_prediction, tally_into(stats)),
    )


def _short_path(settings: Settings, loaders: Loaders) -> CompiledModels | None:
    if not settings.short_path_enabled:
        return None
    return CompiledModels(loaders, max_bytes=settings.short_path_cache_bytes)
