"""
The command ``slipway``: assembles the modules' commands and turns our errors into one sentence.

Exit codes: 0 done, 1 refused or failed, 2 used wrongly.  Nothing here imports Ray.
"""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from cluster.errors import PlatformError
from serve_app.cli import backup, collect, doctor, edge, keys, models, predict, services, up, users

MODULES = (up, services, doctor, edge, users, keys, models, collect, predict, backup)


class Commands(TyperGroup):
    """The root group; an error of ours ends the process with its sentence and code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except PlatformError as error:
            print(f"slipway: {error.message}", file=sys.stderr)
            raise typer.Exit(1) from error


def build_app() -> typer.Typer:
    """Every command under one root."""
    app = typer.Typer(
        name="slipway",
        cls=Commands,
        help="Upload a fitted scikit-learn model, get a prediction API.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for module in MODULES:
        module.register(app)
    return app


app = build_app()


def main() -> None:
    """Entry point of the console script."""
    app()
