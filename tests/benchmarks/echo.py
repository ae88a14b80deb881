"""
The floor under every figure: a raw ASGI echo as a Serve application, without anything of ours.

Deployed beside the platform for the length of a run, in replicas like the Ingress's.
"""

from typing import Any

from ray import serve
from starlette.types import ASGIApp, Receive, Scope, Send

NAME = "echo"
#: Empty, so that our outermost middleware is not wrapped around this application.
_NO_CALLBACK = {"RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": ""}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Give the body back, as the least that an HTTP server can do."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    body = (await receive()).get("body", b"")
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Echo:
    """One replica of the echo."""

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """The application that Serve calls."""
        return echo


app = serve.deployment(serve.ingress()(Echo), name="Echo").bind()


def application(replicas: int) -> dict[str, Any]:
    """The application as an entry of a serve_config.yaml."""
    return {
        "name": NAME,
        "route_prefix": f"/{NAME}",
        "import_path": "tests.benchmarks.echo:app",
        "logging_config": {"enable_access_log": False, "log_level": "WARNING"},
        "deployments": [
            {
                "name": "Echo",
                "num_replicas": replicas,
                "max_ongoing_requests": 512,
                "max_queued_requests": 1024,
                "ray_actor_options": {
                    "num_cpus": 0.1,
                    "runtime_env": {"env_vars": _NO_CALLBACK},
                },
            }
        ],
    }
