"""
How slowly a body may come to the edge: a bound that nginx has in Lua alone.

Where nginx has no Lua there are no lines, and only the silence within a body is bounded.
"""

import math
from dataclasses import dataclass
from pathlib import Path

#: Where Debian and Ubuntu keep nginx's modules, and the package that puts these two there.
DISTRIBUTION_MODULES = Path("/usr/lib/nginx/modules")
PACKAGE = "libnginx-mod-http-lua"
#: In the order in which nginx must load them.
MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
SCRIPT = Path(__file__).resolve().parent / "nginx" / "body_deadline.lua"


def find_lua_modules() -> Path | None:
    """Directory of the distribution's Lua modules; None where one of them is missing."""
    is_there = all((DISTRIBUTION_MODULES / name).is_file() for name in MODULES)
    return DISTRIBUTION_MODULES if is_there else None


@dataclass(frozen=True, kw_only=True, slots=True)
class BodyPace:
    """What a body must bring; its methods are lines of nginx configuration, unindented."""

    #: At the end of each window a body is whole, or the window brought ``bytes_per_s`` on average.
    window_s: int = 20
    bytes_per_s: int = 32 * 1024
    #: Directory of nginx's Lua modules; without it no body is held to this.
    lua_modules: Path | None = None

    @property
    def share_bytes(self) -> int:
        """What each window but the last must bring."""
        return self.window_s * self.bytes_per_s

    def load(self) -> list[str]:
        """Load the modules."""
        if self.lua_modules is None:
            return []
        return [f"load_module {self.lua_modules}/{name};" for name in MODULES]

    def define(self) -> list[str]:
        """Define, once a worker, what ``wait`` calls."""
        if self.lua_modules is None:
            return []
        bounds = (
            f"local window_s, share_bytes = {self.window_s}, {self.window_s * self.bytes_per_s}"
        )
        script = SCRIPT.read_text(encoding="utf-8").splitlines()
        inner = [f"    {line}".rstrip() for line in (bounds, *script)]
        return ["init_by_lua_block {", *inner, "}"]

    def wait(self, bound_bytes: int) -> list[str]:
        """
        Wait for the body of each request of a server or location, and refuse it when it is late.

        In the access phase: limits and declared lengths have refused by then, and the proxy finds
        the body whole.

        Args:
            bound_bytes: Most bytes of a body there; at this pace they take so many windows.
        """
        if self.lua_modules is None:
            return []
        windows = math.ceil(bound_bytes / self.share_bytes)
        return [f"access_by_lua_block {{ await_body({windows}) }}"]
