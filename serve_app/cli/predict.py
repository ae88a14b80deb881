"""``slipway predict``: one prediction from the command line."""

import json
import sys
from typing import Annotated

import typer

from cluster.contracts import JsonObject
from serve_app.cli.client import ActAs, ApiClient


def register(app: typer.Typer) -> None:
    """Add ``slipway predict``."""
    app.command()(predict)


def predict(
    name: Annotated[str, typer.Argument(help="The model's name or id.")],
    instances: Annotated[
        str,
        typer.Option("--json", metavar="ROWS", help="'[[…]]' or '[{…}]'; - reads them from stdin."),
    ],
    method: Annotated[str | None, typer.Option(help="predict, predict_proba, …")] = None,
    version: Annotated[str | None, typer.Option(help="Number or alias.")] = None,
    act_as: ActAs = None,
) -> None:
    """Predict with a model and print the answer as JSON."""
    text = sys.stdin.read() if instances == "-" else instances
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--json") from error
    body: JsonObject = {"instances": rows}
    if method:
        body["method"] = method
    if version:
        body["version"] = int(version) if version.isdigit() else version
    with ApiClient.connect(act_as) as api:
        answer = api.post(f"/api/v1/models/{name}/predict", body)
    print(json.dumps(answer, ensure_ascii=False))
