"""Serve's REST interface on Ray's dashboard, with the cluster's token: deploy, look, shut down."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from cluster.errors import PlatformError

PATH = "/api/serve/applications/"
POLL_INTERVAL_S = 0.25


class DeployFailed(PlatformError):
    """Serve refused the application, or it did not become ready; the sentence says why."""

    code = "deploy_failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class ApplicationStatus:
    """One application as Serve sees it."""

    name: str
    status: str
    message: str
    #: Deployment to its status.
    deployments: dict[str, str]
    #: Deployment to what Serve says of it, where it says something.
    notes: dict[str, str]

    def reasons(self) -> str:
        """What Serve says of the application, then of each deployment: why a replica died."""
        notes = [self.message, *(f"{name}: {note}" for name, note in self.notes.items())]
        return " ".join(filter(None, notes))

    def describe(self) -> str:
        """The status and its reasons."""
        return f"{self.status} {self.reasons()}".strip()


class ServeApi:
    """One Serve instance, through the dashboard of its Ray cluster."""

    def __init__(self, dashboard_url: str, token: str | None) -> None:
        self._url = dashboard_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def is_ready(self) -> bool:
        """Whether the dashboard answers for Serve."""
        try:
            return self._request("GET", timeout_s=5).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def instance(self) -> dict[str, Any]:
        """
        Serve's own description of itself: applications, HTTP options and the rest.

        Raises:
            DeployFailed: If the dashboard does not answer, or refuses the token.
        """
        return dict(self._checked("GET").json())

    def applications(self) -> dict[str, ApplicationStatus]:
        """
        Applications by name.

        Raises:
            DeployFailed: As ``instance``.
        """
        return {
            name: ApplicationStatus(
                name=name,
                status=str(details["status"]),
                message=str(details.get("message", "")),
                deployments={
                    deployment: str(found["status"])
                    for deployment, found in details.get("deployments", {}).items()
                },
                notes={
                    deployment: str(found["message"])
                    for deployment, found in details.get("deployments", {}).items()
                    if found.get("message")
                },
            )
            for name, details in self.instance().get("applications", {}).items()
        }

    def deploy(self, config: dict[str, Any]) -> None:
        """
        Make ``config`` (the content of a serve_config.yaml) the goal; returns once it is accepted.

        Raises:
            DeployFailed: If Serve refuses it.
        """
        self._checked("PUT", json=config, timeout_s=60)

    def shutdown(self, timeout_s: float) -> bool:
        """Drain and end Serve, its controller and proxies; whether that was done in time."""
        try:
            self._request("DELETE", timeout_s=timeout_s).raise_for_status()
        except httpx.HTTPError:
            return False
        return True

    def await_running(
        self, name: str, timeout_s: float, check: Callable[[], None] = lambda: None
    ) -> None:
        """
        Wait until the application runs; ``check`` is called between looks and may raise.

        Raises:
            DeployFailed: With Serve's message, if it failed or took longer.
        """
        deadline = time.monotonic() + timeout_s
        status = "not known to Serve"
        while time.monotonic() < deadline:
            check()
            found = self.applications().get(name)
            if found is not None:
                if found.status == "RUNNING":
                    return
                if found.status == "DEPLOY_FAILED":
                    raise DeployFailed(f"{name} cannot be deployed: {found.reasons()}")
                status = found.describe()
            time.sleep(POLL_INTERVAL_S)
        raise DeployFailed(f"{name} does not run after {timeout_s:.0f} s: {status}")

    def _checked(
        self, method: str, *, json: dict[str, Any] | None = None, timeout_s: float = 15
    ) -> httpx.Response:
        try:
            answer = self._request(method, json=json, timeout_s=timeout_s)
        except httpx.HTTPError as error:
            raise DeployFailed(
                f"Ray's dashboard at {self._url} does not answer: {type(error).__name__}"
            ) from error
        if answer.is_error:
            raise DeployFailed(f"Serve answers {answer.status_code}: {answer.text[:2000]}")
        return answer

    def _request(
        self, method: str, *, json: dict[str, Any] | None = None, timeout_s: float
    ) -> httpx.Response:
        # Its own address on loopback: a proxy of the environment has no business here.
        with httpx.Client(trust_env=False, timeout=timeout_s) as client:
            return client.request(method, self._url + PATH, headers=self._headers, json=json)
