"""``slipway models``: upload, look at, promote, roll back, delete; and check a file beforehand."""

import asyncio
import hashlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import open as open_with_progress

from cluster.contracts import ArtifactFormat, JsonObject, VetReport, VetRequest
from cluster.errors import PlatformError, UploadRefused
from cluster.setting_sources import Role, load_settings
from serve_app.cli.client import ActAs, ApiClient
from serve_app.cli.output import AsJson, emit, say, table
from serve_app.cli.revet import revet

commands = typer.Typer(no_args_is_help=True, help="Upload models and move their aliases.")
MODELS = "/api/v1/models"
EVERY_FORMAT: tuple[ArtifactFormat, ...] = ("skops", "onnx", "joblib", "pickle")

Name = Annotated[str, typer.Argument(help="The model's name or id.")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)]


def register(app: typer.Typer) -> None:
    """Add ``slipway models``."""
    commands.command()(revet)
    app.add_typer(commands, name="models")


@commands.callback()
def models(context: typer.Context, act_as: ActAs = None) -> None:
    """Upload models and move their aliases."""
    context.obj = act_as


@commands.command()
def upload(
    context: typer.Context,
    file: File,
    name: Annotated[str, typer.Option(help="Model to make, or to add a version to.")],
    description: Annotated[str | None, typer.Option(help="What the model is for.")] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Make it production.")] = False,
    examples: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="JSON: {instances, predictions?, method?}."),
    ] = None,
    act_as: ActAs = None,
    as_json: AsJson = False,
) -> None:
    """Upload FILE as a new model, or as the next version of one that exists."""
    fields = {"examples": examples.read_text(encoding="utf-8")} if examples else {}
    with ApiClient.connect(act_as or context.obj) as api:
        if api.find(f"{MODELS}/{name}") is None:
            path = MODELS
            fields |= {"name": name} | ({"description": description} if description else {})
        else:
            path = f"{MODELS}/{name}/versions"
            fields |= {"promote": "true" if promote else "false"}
        console = Console(stderr=True)
        with open_with_progress(
            file,
            "rb",
            description="Uploading",
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ) as stream:
            made = api.upload(path, stream, fields)
    for warning in made.get("warnings", ()):
        say(f"warning: {warning}")
    emit(made, [f"{made['name']} version {made['version']}: {made['endpoint']}"], as_json=as_json)


@commands.command("list")
def list_models(context: typer.Context, act_as: ActAs = None, as_json: AsJson = False) -> None:
    """List the models you own."""
    with ApiClient.connect(act_as or context.obj) as api:
        items = api.get_all(MODELS)
    columns = ("name", "status", "production", "latest_version", "visibility", "updated_at")
    emit({"items": items}, table(items, columns), as_json=as_json)


@commands.command()
def show(context: typer.Context, name: Name, act_as: ActAs = None, as_json: AsJson = False) -> None:
    """Show a model and its versions."""
    with ApiClient.connect(act_as or context.obj) as api:
        model = api.get(f"{MODELS}/{name}")
        versions = api.get_all(f"{MODELS}/{name}/versions")
    columns = ("version", "status", "format", "size_bytes", "aliases", "sha256", "created_at")
    head = [f"{model['name']} ({model['id']}), {model['visibility']}, {model['status']}"]
    emit({**model, "versions": versions}, head + table(versions, columns), as_json=as_json)


@commands.command()
def promote(
    context: typer.Context,
    name: Name,
    version: Annotated[int, typer.Argument(min=1)],
    act_as: ActAs = None,
    as_json: AsJson = False,
) -> None:
    """Make VERSION the one that unversioned calls use."""
    with ApiClient.connect(act_as or context.obj) as api:
        moved = _move_production(api, name, version)
    emit(moved, [f"{name}: production is version {version}"], as_json=as_json)


@commands.command()
def rollback(
    context: typer.Context, name: Name, act_as: ActAs = None, as_json: AsJson = False
) -> None:
    """Return production to the version before the last promotion."""
    with ApiClient.connect(act_as or context.obj) as api:
        aliases = api.get(f"{MODELS}/{name}/aliases")["items"]
        production = next((a for a in aliases if a["alias"] == "production"), None)
        previous = production["previous_version"] if production else None
        if previous is None:
            raise PlatformError(
                f"{name} has no earlier production version: promote one with "
                f"`slipway models promote {name} VERSION`"
            )
        moved = _move_production(api, name, previous)
    emit(moved, [f"{name}: production is version {previous} again"], as_json=as_json)


@commands.command()
def delete(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    act_as: ActAs = None,
    as_json: AsJson = False,
) -> None:
    """Delete a model; its bytes are kept for seven days."""
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete {name} and all of its versions?", abort=True, err=True)
    with ApiClient.connect(act_as or context.obj) as api:
        api.delete(f"{MODELS}/{name}")
    emit({"deleted": name}, [f"{name} is deleted"], as_json=as_json)


@commands.command()
def transfer(
    context: typer.Context,
    name: Name,
    owner: Annotated[str, typer.Argument(metavar="EMAIL", help="Whose it is to be.")],
    act_as: ActAs = None,
    as_json: AsJson = False,
) -> None:
    """Hand a model, best named by its id, over to another account."""
    with ApiClient.connect(act_as or context.obj) as api:
        moved = api.put(f"{MODELS}/{name}/owner", {"owner": owner})
    emit(moved, [f"{moved['name']} belongs to {moved['owner']}"], as_json=as_json)


@commands.command()
def check(file: File, as_json: AsJson = False) -> None:
    """Run an upload's gates on FILE here, before any upload."""
    content = file.read_bytes()
    try:
        report = asyncio.run(_vet(content))
    except UploadRefused as refusal:
        if as_json:
            print(json.dumps(_refusal(refusal)))
        raise
    document: JsonObject = {
        "accepted": True,
        "format": report.format,
        "methods": list(report.signature.methods),
        "features": [feature.name for feature in report.signature.features],
        "engines": report.engines,
        "memory_bytes": report.memory_bytes,
        "warnings": list(report.warnings),
    }
    for warning in report.warnings:
        say(f"warning: {warning}")
    methods = ", ".join(report.signature.methods)
    emit(document, [f"{file} would be accepted: {report.format}, {methods}"], as_json=as_json)


def _move_production(api: ApiClient, name: str, version: int) -> JsonObject:
    return api.put(f"{MODELS}/{name}/aliases/production", {"version": version})


def _refusal(refusal: UploadRefused) -> JsonObject:
    answer: JsonObject = {
        "accepted": False,
        "error": refusal.message,
        "code": refusal.public_code,
    }
    for key in ("gate", "reason", "name"):
        if key in refusal.context:
            answer[key] = refusal.context[key]
    return answer


async def _vet(content: bytes) -> VetReport:
    # Imported here: the sandbox brings scikit-learn, which no other command needs.
    from deployments.intake.operator_names import limits_of, read_extra_names
    from deployments.intake.sandbox import Sandbox

    request = VetRequest(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        allowed_formats=EVERY_FORMAT,
    )
    settings = load_settings(Role.LOADER)
    sandbox = Sandbox(limits_of(settings), read_extra_names(settings), lanes=1)
    sandbox.start()
    try:
        return await sandbox.vet(content, request)
    finally:
        sandbox.stop()
