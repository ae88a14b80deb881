"""What staging and production refuse to start with, every fault named at once and no value."""

from urllib.parse import urlsplit

from pydantic import SecretStr

from cluster.errors import InsecureSettings
from cluster.settings import Settings

#: Values seen in tutorials: a token signed with one of them is anybody's to forge.
KNOWN_EXAMPLE_KEYS = frozenset(
    {
        "change-me",
        "changeme",
        "secret",
        "secret-key",
        "your-secret-key",
        "your-secret-key-change-in-production",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    }
)
MINIMUM_KEY_BYTES = 32


def security_faults(settings: Settings, *, is_database_embedded: bool) -> list[str]:
    """Every reason why these settings must not serve in staging or production; empty if none."""
    if not settings.is_hardened:
        return []
    faults = []
    if settings.debug:
        faults.append("DEBUG is on: set DEBUG=false")
    faults += _key_faults(settings.secret_key)
    for origin in settings.cors_origins:
        if origin == "*":
            faults.append("CORS_ORIGINS holds *: name each origin")
        elif urlsplit(origin).scheme != "https":
            faults.append(f"CORS_ORIGINS holds {origin}: use https")
    if not settings.allowed_hosts or "*" in settings.allowed_hosts:
        faults.append("ALLOWED_HOSTS is empty or *: name the hosts this service answers to")
    if is_database_embedded:
        faults.append("the database is embedded: set DATABASE_URL to a PostgreSQL server")
    return faults


def refuse_insecure(settings: Settings, *, is_database_embedded: bool) -> None:
    """
    Do nothing for settings that may serve.

    Raises:
        InsecureSettings: Naming every fault at once.
    """
    faults = security_faults(settings, is_database_embedded=is_database_embedded)
    if faults:
        named = f"{settings.environment} refuses to start: "
        raise InsecureSettings(named + "; ".join(faults), faults=tuple(faults))


def _key_faults(secret: SecretStr | None) -> list[str]:
    make = 'make one with: python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
    if secret is None or not secret.get_secret_value():
        return [f"SECRET_KEY is missing: {make}"]
    key = secret.get_secret_value()
    if key.lower() in KNOWN_EXAMPLE_KEYS:
        return [f"SECRET_KEY is a known example: {make}"]
    if len(key.encode()) < MINIMUM_KEY_BYTES:
        return [f"SECRET_KEY is shorter than {MINIMUM_KEY_BYTES} bytes: {make}"]
    return []
