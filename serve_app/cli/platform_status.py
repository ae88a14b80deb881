"""What of this directory's platform runs, part by part, without starting anything."""

from dataclasses import asdict, dataclass
from typing import Literal

from cluster.addresses import answers, dashboard_url, service_url
from cluster.contracts import JsonObject
from cluster.databases import Databases
from cluster.errors import PlatformError
from cluster.run_record import find_record
from cluster.secrets import read_token
from cluster.serve_api import ServeApi
from cluster.serve_config import APPLICATION
from cluster.settings import Settings

State = Literal["running", "stopped", "failing"]
NAMES = {"DATABASE_URL": "postgresql", "REDIS_URL": "valkey"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part and how it is."""

    name: str
    state: State
    detail: str = ""

    def to_json(self) -> JsonObject:
        """The part as a JSON object."""
        return asdict(self)


def look(settings: Settings) -> list[Part]:
    """Every part, from the ground up."""
    return [*_databases(settings), _launcher(settings), *_serve(settings), _http(settings)]


def _databases(settings: Settings) -> list[Part]:
    databases = Databases(settings)
    return [
        Part(name=name, state="running", detail="not ours: the URL is given")
        if variable not in databases.embedded
        else Part(name=name, state="stopped" if variable in databases.missing else "running")
        for variable, name in NAMES.items()
    ]


def _launcher(settings: Settings) -> Part:
    record = find_record(settings.slipway_home)
    if record is None or record.find_launcher() is None:
        return Part(name="launcher", state="stopped")
    state: State = "running" if record.phase == "running" else "failing"
    return Part(name="launcher", state=state, detail=f"pid {record.pid}, {record.phase}")


def _serve(settings: Settings) -> list[Part]:
    token = read_token(settings.slipway_home / "secrets" / "ray_token")
    try:
        application = ServeApi(dashboard_url(settings), token).applications().get(APPLICATION)
    except PlatformError as error:
        return [Part(name="ray", state="stopped", detail=error.message)]
    parts = [Part(name="ray", state="running", detail=dashboard_url(settings))]
    if application is None:
        return [*parts, Part(name="application", state="stopped")]
    parts.append(
        Part(
            name="application",
            state="running" if application.status == "RUNNING" else "failing",
            detail=f"{application.status} {application.message}".strip(),
        )
    )
    for name, found in application.deployments.items():
        state: State = "running" if found == "HEALTHY" else "failing"
        parts.append(Part(name=name, state=state, detail=found))
    return parts


def _http(settings: Settings) -> Part:
    url = service_url(settings)
    if answers(url):
        return Part(name="http", state="running", detail=url)
    return Part(name="http", state="stopped", detail=f"{url}/health/ready does not answer 200")
