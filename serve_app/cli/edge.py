"""``slipway edge``: the configuration of nginx in front of the platform."""

import functools
from pathlib import Path
from typing import Annotated

import typer

from cluster.edge import EdgeConfig, render
from cluster.edge_bodies import PACKAGE, BodyPace, find_lua_modules
from cluster.ports import RememberedPorts
from cluster.private_files import write_private
from serve_app.cli.operator import operator_settings
from serve_app.cli.output import say

commands = typer.Typer(no_args_is_help=True, help="Configure the edge (nginx).")
#: A path that nginx reads and we only write down: our user may have no business there.
Unread = functools.partial(typer.Option, readable=False)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="edge")


@commands.command("render")
def render_command(
    certificate: Annotated[Path, Unread(help="TLS certificate with its chain, PEM.")],
    certificate_key: Annotated[Path, Unread(help="Its private key, PEM.")],
    output: Annotated[
        Path | None, typer.Option(help="File to write, mode 0600; none prints it.")
    ] = None,
    directory: Annotated[
        Path, Unread(help="Where nginx keeps its pid, socket and bodies on their way.")
    ] = Path("/tmp/edge"),  # noqa: S108 - a tmpfs of the container's own
    door: Annotated[
        list[str] | None, typer.Option(help="host:port of a HAProxy; once for each node.")
    ] = None,
    replica_host: Annotated[
        list[str] | None, typer.Option(help="Host of ingress replicas; once for each node.")
    ] = None,
    replicas: Annotated[
        bool, typer.Option(help="Whether this edge reaches the replicas' own ports.")
    ] = True,
    http_port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    https_port: Annotated[int, typer.Option(min=1, max=65535)] = 8443,
    public_https_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port that clients use, for redirects.")
    ] = 443,
    grafana: Annotated[str, typer.Option(help="host:port of Grafana; empty hides it.")] = "",
    lua_modules: Annotated[
        str,
        typer.Option(
            metavar="DIRECTORY|none",
            help="Where nginx has its Lua modules; empty looks where Debian keeps them.",
        ),
    ] = "",
) -> None:
    """Render the configuration from the settings; it holds EDGE_TOKEN, so keep it private."""
    settings = operator_settings()
    places: dict[str, object] = {}
    if (first := RememberedPorts(settings.slipway_home).find("ingress")) is not None:
        places["first_replica_port"] = first
    if not replicas:
        places["replica_ports"] = 0
    if door:
        places["doors"] = tuple(door)
    if replica_host:
        places["replica_hosts"] = tuple(replica_host)
    config = EdgeConfig.from_settings(
        settings,
        certificate=certificate.absolute(),
        certificate_key=certificate_key.absolute(),
        directory=directory.absolute(),
        http_port=http_port,
        https_port=https_port,
        public_https_port=public_https_port,
        grafana=grafana,
        body_pace=_body_pace(lua_modules),
        **places,
    )
    text = render(config)
    if output is None:
        print(text, end="")
        return
    write_private(output, text)
    say(f"wrote {output}; check it with: nginx -t -c {output.absolute()}")


def _body_pace(lua_modules: str) -> BodyPace:
    """The pace that nginx can hold bodies to; says so where it is none."""
    given = None if lua_modules in ("", "none") else Path(lua_modules).absolute()
    pace = BodyPace(lua_modules=given if lua_modules else find_lua_modules())
    if pace.lua_modules is None:
        say(f"nginx without Lua bounds no body's whole time, only its silence: install {PACKAGE}")
    return pace
