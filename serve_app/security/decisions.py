"""What a limit decided, and the headers that say so; whose bucket an address is."""

import ipaddress
import math
from dataclasses import dataclass
from functools import lru_cache

from serve_app.security.shared_state import WINDOW_S


@dataclass(frozen=True, slots=True)
class Decision:
    """A request that was let pass, and what its response says of the limit."""

    route_class: str
    limit: int
    remaining: int

    @property
    def headers(self) -> dict[str, str]:
        """RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10)."""
        return rate_limit_headers(self.route_class, self.limit, self.remaining)

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """The same as ASGI has them."""
        if self.limit <= 0:
            return []
        reset_s = -(-(self.limit - self.remaining) * WINDOW_S // self.limit)
        state = b'"%s";r=%d;t=%d' % (self.route_class.encode(), self.remaining, reset_s)
        return [_policy(self.route_class, self.limit), (b"ratelimit", state)]


UNLIMITED = Decision("unlimited", 0, 0)
"""For requests that no limit counts."""


def rate_limit_headers(
    route_class: str, limit: int, remaining: int, reset_s: float | None = None
) -> dict[str, str]:
    """The two headers; ``reset_s`` defaults to when the bucket is full again."""
    if limit <= 0:
        return {}
    if reset_s is None:
        reset_s = (limit - remaining) * WINDOW_S / limit
    return {
        "RateLimit-Policy": f'"{route_class}";q={limit};w={WINDOW_S}',
        "RateLimit": f'"{route_class}";r={remaining};t={math.ceil(reset_s)}',
    }


@lru_cache(maxsize=1024)
def _policy(route_class: str, limit: int) -> tuple[bytes, bytes]:
    """The header that is the same for every request of a caller."""
    value = rate_limit_headers(route_class, limit, limit)["RateLimit-Policy"]
    return b"ratelimit-policy", value.encode()


def address_bucket(address: str | None) -> str:
    """Name of a client address's bucket: an IPv6 client owns its whole /64."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if parsed.version == 4:  # noqa: PLR2004 - the protocol's number
        return str(parsed)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or ipaddress.ip_network((parsed, 64), strict=False).network_address)
