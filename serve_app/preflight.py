"""What must hold before the application is bound: safe settings and a registry of its schema."""

from cluster.errors import InsecureSettings
from cluster.hardening import refuse_insecure
from cluster.settings import Settings
from serve_app.registry.migrate import pending


def refuse_unready(settings: Settings) -> None:
    """
    Do nothing where the application may start.

    Raises:
        InsecureSettings: Unsafe settings, a missing database or secret, or an old schema, each
            with what to do.
        RegistryUnavailable: The database does not answer.
    """
    refuse_insecure(settings, is_database_embedded=settings.is_database_embedded)
    missing = [
        name
        for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY")
        if getattr(settings, name.lower()) is None
    ]
    if missing or settings.database_url is None:
        raise InsecureSettings(
            f"{', '.join(missing)} not set: run `slipway services start` and "
            '`eval "$(slipway env)"` before `ray start`, or name your own servers'
        )
    if steps := pending(settings.database_url.get_secret_value()):
        raise InsecureSettings(
            f"the database lacks {len(steps)} migration(s), up to {steps[-1]}: "
            "run `slipway migrate`"
        )
