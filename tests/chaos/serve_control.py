"""What an operator does to a running platform: new code, and other numbers of replicas."""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from cluster.serve_api import DeployFailed, ServeApi
from cluster.serve_config import APPLICATION, own_application
from tests.system.platform import Platform

SCALED = ("Ingress", "Predictor")
#: A generation of replicas starts and one drains, on a busy machine.
PATIENCE_S = 240.0


class ServeControl:
    """Serve's REST interface, as `serve deploy` uses it."""

    def __init__(self, platform: Platform) -> None:
        token = (platform.home / "secrets" / "ray_token").read_text(encoding="utf-8").strip()
        self._api = ServeApi(f"http://127.0.0.1:{platform.environment['DASHBOARD_PORT']}", token)

    def replicas(self) -> dict[str, list[dict[str, Any]]]:
        """Deployment -> its replicas as Serve describes them."""
        deployments = self._api.instance()["applications"][APPLICATION]["deployments"]
        return {name: found["replicas"] for name, found in deployments.items()}

    def is_settled(self) -> bool:
        """Whether every deployment has what it should, and nothing starts or drains."""
        try:
            found = self._api.applications().get(APPLICATION)
            states = [each["state"] for all_ in self.replicas().values() for each in all_]
        except (DeployFailed, KeyError):
            return False
        return (
            found is not None
            and found.status == "RUNNING"
            and set(found.deployments.values()) == {"HEALTHY"}
            and set(states) == {"RUNNING"}
        )

    def roll(self) -> str:
        """
        Replace every replica, as new code does; returns once the last of the old is gone.

        Serve takes an application whose arguments differ for other code: it builds it anew, in a
        fresh process, and all its replicas.
        """
        old = self._running()
        config = self._config()
        own_application(config)["args"] = {"coalesce_max_rows": 2048 + secrets.randbelow(2048)}
        took_s = self._deploy(config, lambda: not old & self._running())
        return f"rolled {len(old)} replicas in {took_s:.0f} s"

    def scale(self, *counts: int) -> str:
        """As many Ingress and Predictor replicas, one count after another; then as before."""
        before = self._config()
        steps = []
        try:
            for count in counts:
                took_s = self._deploy(_with_count(before, count), lambda: self._has(count))  # noqa: B023
                steps.append(f"{count} after {took_s:.0f} s")
        finally:
            self._api.deploy(before)
        return f"scaled {', '.join(SCALED)}: {', '.join(steps)}"

    def _deploy(self, config: dict[str, Any], is_done: Callable[[], bool]) -> float:
        """Seconds until ``is_done`` and nothing starts or drains any more."""
        began_s = time.monotonic()
        self._api.deploy(config)
        while not (self.is_settled() and is_done()):
            if time.monotonic() > began_s + PATIENCE_S:
                raise AssertionError(f"not deployed after {PATIENCE_S:.0f} s")
            # Not oftener: the load is made by another thread of this process.
            time.sleep(1)
        return time.monotonic() - began_s

    def _running(self) -> set[str]:
        return {str(each["replica_id"]) for all_ in self.replicas().values() for each in all_}

    def _has(self, count: int) -> bool:
        found = self.replicas()
        return all(len(found[name]) == count for name in SCALED)

    def _config(self) -> dict[str, Any]:
        """What is deployed now, as it could be deployed again."""
        instance = self._api.instance()
        return {
            "proxy_location": instance["proxy_location"],
            "http_options": instance["http_options"],
            "applications": [instance["applications"][APPLICATION]["deployed_app_config"]],
        }


def _with_count(config: Mapping[str, Any], count: int) -> dict[str, Any]:
    (application,) = config["applications"]
    deployments = [
        {**each, "autoscaling_config": _bounds(each["autoscaling_config"], count)}
        if each["name"] in SCALED
        else each
        for each in application["deployments"]
    ]
    return {**config, "applications": [{**application, "deployments": deployments}]}


def _bounds(autoscaling: Mapping[str, Any], count: int) -> dict[str, Any]:
    return {**autoscaling, "min_replicas": count, "max_replicas": count}
