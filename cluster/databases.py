"""PostgreSQL and Valkey of one platform: the operator's by URL, ours where no URL is given."""

from collections.abc import Collection
from pathlib import Path

from pydantic import SecretStr

from cluster.embedded import EmbeddedPostgres, EmbeddedValkey
from cluster.private_files import write_private
from cluster.settings import Settings

VARIABLES = ("DATABASE_URL", "REDIS_URL")


class Databases:
    """The embedded servers that these settings need; none where both URLs are given."""

    def __init__(self, settings: Settings, *, only: Collection[str] = VARIABLES) -> None:
        self._home = settings.slipway_home
        self._servers: dict[str, EmbeddedPostgres | EmbeddedValkey] = {}
        if settings.database_url is None and "DATABASE_URL" in only:
            self._servers["DATABASE_URL"] = EmbeddedPostgres(self._home)
        if settings.redis_url is None and "REDIS_URL" in only:
            self._servers["REDIS_URL"] = EmbeddedValkey(self._home)

    @property
    def missing(self) -> list[str]:
        """Variables whose embedded server is needed and does not run."""
        return [name for name, server in self._servers.items() if not server.is_running]

    @property
    def embedded(self) -> list[str]:
        """Variables that an embedded server answers for."""
        return list(self._servers)

    def start(self) -> dict[str, str]:
        """
        Start what is needed and does not run.

        Returns:
            URL by variable, of embedded servers alone.

        Raises:
            EmbeddedServerFailed: Naming the log.
        """
        return {name: server.start() for name, server in self._servers.items()}

    def stop(self) -> None:
        """End the embedded servers, Valkey first."""
        for server in reversed(self._servers.values()):
            server.stop()


def with_urls(settings: Settings, urls: dict[str, str]) -> Settings:
    """The settings with the URLs of embedded servers in place of those that are not given."""
    update: dict[str, object] = {name.lower(): SecretStr(url) for name, url in urls.items()}
    update["is_database_embedded"] = "DATABASE_URL" in urls
    return settings.model_copy(update=update)


class ServicesMarker:
    """Whether the embedded servers were started on their own, hence outlive ``slipway up``."""

    def __init__(self, home: Path) -> None:
        self._path = home / "services"

    @property
    def is_set(self) -> bool:
        """True between ``slipway services start`` and ``stop``."""
        return self._path.exists()

    def set(self) -> None:
        """Keep the servers when the platform stops."""
        write_private(self._path, "started by `slipway services start`\n")

    def clear(self) -> None:
        """Let the next stop of the platform end them."""
        self._path.unlink(missing_ok=True)
