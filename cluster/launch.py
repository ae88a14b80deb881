"""
The whole platform as one object: databases, Ray head, application, in this order and back.

Synchronous and in one thread; the supervisor calls it, and a test can.
"""

import contextlib
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psutil

from cluster.addresses import (
    answers,
    dashboard_url,
    own_http_ports,
    platform_ports,
    ray_places,
    service_url,
)
from cluster.databases import Databases, ServicesMarker, with_urls
from cluster.exposure import OpenPorts, refuse_exposed
from cluster.front_door import FrontDoor
from cluster.hardening import refuse_insecure
from cluster.ports import RememberedPorts, require_free
from cluster.ray_environment import ray_environment
from cluster.ray_head import (
    RayFailed,
    RayHead,
    RayPorts,
    end_remains,
    remains,
    temporary_directory,
)
from cluster.run_record import (
    RunRecord,
    clear_record,
    find_record,
    write_record,
)
from cluster.secrets import HandedSecrets, hand_over, read_token
from cluster.serve_api import POLL_INTERVAL_S, DeployFailed, ServeApi
from cluster.serve_config import APPLICATION, rendered
from cluster.settings import Settings

HEAD_TIMEOUT_S = 60.0
DEPLOY_TIMEOUT_S = 180.0
#: A replica may need its whole grace period; then its process is ended all the same.
SHUTDOWN_TIMEOUT_S = 90.0

Say = Callable[[str], None]


class Platform:
    """One platform of one SLIPWAY_HOME; hold ``exclusive(home)`` while using it."""

    def __init__(
        self,
        settings: Settings,
        config: dict[str, Any],
        *,
        migrate: Callable[[Settings], None] = lambda _: None,
        say: Say = lambda _: None,
        import_path: str | None = None,
    ) -> None:
        self._given = settings
        self._settings = settings
        self._home = settings.slipway_home
        self._config = rendered(config, settings, import_path=import_path)
        self._migrate = migrate
        self._say = say
        self.databases = Databases(settings)
        self._urls: dict[str, str] = {}
        self._temporary = temporary_directory(self._home)
        self.head: RayHead | None = None
        self._api: ServeApi | None = None

    @property
    def url(self) -> str:
        """Where the service answers, as seen from this machine."""
        return service_url(self._settings)

    @property
    def dashboard_url(self) -> str:
        """Ray's dashboard; it asks for the token of ``ray_token``."""
        return dashboard_url(self._settings)

    @property
    def settings(self) -> Settings:
        """The settings with the URLs of embedded servers in them."""
        return self._settings

    def start(self) -> None:
        """
        Bring everything up and return once the application answers.

        Raises:
            InsecureSettings: Before anything is started.
            PortTaken: Naming port and holder.
            Exposed: Ray takes commands without its token, or listens where it should not.
            EmbeddedServerFailed, RayFailed, DeployFailed: Naming the log or Serve's message.
        """
        refuse_insecure(self._given, is_database_embedded="DATABASE_URL" in self.databases.embedded)
        self.end_leftovers()
        require_free(platform_ports(self._given))
        self._note("starting")
        self._start_databases()
        # Ray takes seconds to come up and needs no schema: both at once.
        self._launch_head()
        self._migrate(self._settings)
        self._await_head()
        self._deploy()
        self._note("running")

    def end_leftovers(self) -> None:
        """End what a killed earlier run of this home left behind, its databases excepted."""
        record = find_record(self._home)
        self._settings.draining_file.unlink(missing_ok=True)
        survivors = end_remains(self._temporary, record.head if record else None)
        if survivors:
            pids = ", ".join(str(process.pid) for process in survivors)
            raise RayFailed(f"processes of an earlier run cannot be ended (pid {pids})")

    def _start_databases(self) -> None:
        if self.databases.embedded:
            self._say("starting " + " and ".join(map(_server_name, self.databases.embedded)))
        self._urls = self.databases.start()
        self._settings = with_urls(self._given, self._urls)

    def _launch_head(self) -> None:
        self._say("starting Ray")
        secrets = hand_over(self._home, self._settings, os.environ, urls=self._urls)
        self.head = self._new_head(secrets)
        self.head.start()
        self._note("starting")
        self._api = ServeApi(self.dashboard_url, read_token(secrets.ray_token))

    def _await_head(self) -> None:
        """Return once the dashboard answers for Serve."""
        deadline = time.monotonic() + HEAD_TIMEOUT_S
        while self._api is None or not self._api.is_ready():
            self._require_head()
            if time.monotonic() > deadline:
                raise RayFailed(f"Ray's dashboard does not answer: read {self._home}/logs/ray.log")
            time.sleep(POLL_INTERVAL_S)

    def _deploy(self) -> None:
        """Hand the application to Serve, again if need be, and wait until it answers."""
        if self._api is None:
            raise RayFailed("Ray is not started")
        self._say("deploying the application")
        self._api.deploy(self._config)
        self._api.await_running(APPLICATION, DEPLOY_TIMEOUT_S, self._require_head)
        deadline = time.monotonic() + DEPLOY_TIMEOUT_S
        while not answers(self.url):
            self._require_head()
            if time.monotonic() > deadline:
                raise DeployFailed(f"{self.url}/health/ready does not answer")
            time.sleep(POLL_INTERVAL_S)
        self._refuse_exposed()

    def _refuse_exposed(self) -> None:
        refuse_exposed(
            self._remains(),
            OpenPorts.of(self._settings, own_http_ports(self._home)),
            self.dashboard_url,
        )

    def restart_head(self) -> None:
        """After Ray died: end its remains, start it again, redeploy."""
        self._note("starting")
        if self.head is not None:
            self.head.stop()
        self._launch_head()
        self._await_head()
        self._deploy()
        self._note("running")

    def revive_databases(self) -> bool:
        """Start embedded servers that died; whether their URLs are other ones than before."""
        before = self._urls
        self._urls = self.databases.start()
        self._settings = with_urls(self._given, self._urls)
        return self._urls != before

    def stop(self, while_draining: AbstractContextManager[None] | None = None) -> None:
        """
        Drain, end Serve, Ray, and the embedded servers unless they run on their own.

        Args:
            while_draining: Entered for the drain alone; it may cut that short.
        """
        self._note("stopping")
        self._settings.draining_file.touch(mode=0o600)
        try:
            if self._api is not None and self.head is not None and self.head.is_running:
                self._say("draining")
                with while_draining or contextlib.nullcontext():
                    # Serve's own shutdown begins with killing HAProxy.
                    door = FrontDoor(self._temporary, self._settings.port, self._remains)
                    door.drain(self._settings.request_timeout_s)
                    self._api.shutdown(SHUTDOWN_TIMEOUT_S)
            if self.head is not None:
                self._say("stopping Ray")
                self.head.stop()
            if not ServicesMarker(self._home).is_set:
                self.databases.stop()
        finally:
            with contextlib.suppress(OSError):
                self._settings.draining_file.unlink()
            clear_record(self._home)

    def _remains(self) -> list[psutil.Process]:
        return remains(self._temporary, self.head.record if self.head else None)

    def _require_head(self) -> None:
        if self.head is None or not self.head.is_running:
            log = self.head.log if self.head else self._home
            raise RayFailed(f"Ray's head ended: read {log}")

    def _new_head(self, secrets: HandedSecrets) -> RayHead:
        remembered = RememberedPorts(self._home)
        places = ray_places(self._home, self._temporary)
        ports = RayPorts(
            gcs=self._settings.ray_port,
            dashboard=self._settings.dashboard_port,
            agent=remembered.choose("ray_agent"),
            client=remembered.choose("ray_client"),
        )
        environment = ray_environment(self._settings, secrets, places, os.environ)
        return RayHead(
            home=self._home, temporary=self._temporary, ports=ports, environment=environment
        )

    def _note(self, phase: str) -> None:
        head = self.head.record if self.head else None
        record = RunRecord.of_this_process(self.url, self.dashboard_url, phase, head)
        write_record(self._home, record)


def _server_name(variable: str) -> str:
    return {"DATABASE_URL": "PostgreSQL", "REDIS_URL": "Valkey"}[variable]
