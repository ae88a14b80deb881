"""
The edge's proof, and what follows from it: whose address and scheme a request has.

Behind HAProxy the peer is always HAProxy, so nothing but the edge's secret tells its X-Forwarded-*
from a client's own.
"""

import hmac
import ipaddress
from dataclasses import dataclass, field
from typing import Self

from cluster.settings import Settings

PROOF = b"x-slipway-edge"
FORWARDED_FOR = b"x-forwarded-for"
FORWARDED_PROTO = b"x-forwarded-proto"
#: Taken from every request: applied to the scope where proven, ignored otherwise.
EDGE_HEADERS = frozenset(
    {
        PROOF,
        FORWARDED_FOR,
        FORWARDED_PROTO,
        b"forwarded",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-server",
        b"x-real-ip",
    }
)
#: The peer that uvicorn's proxy support trusts, hence the only one whose address it replaces.
_LOOPBACK = ("127.0.0.1", 0)

Address = tuple[str, int] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a request came from."""

    client: Address
    scheme: str
    is_proven: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class EdgeTrust:
    """Decides whether a request came through our edge."""

    #: None where no edge was set up: then nothing forwarded is believed.
    token: bytes | None = field(repr=False)
    #: Proxies before the edge that append to X-Forwarded-For.
    hops: int = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """What EDGE_TOKEN and TRUSTED_PROXY_HOPS say."""
        secret = settings.edge_token.get_secret_value() if settings.edge_token else ""
        return cls(token=secret.encode() or None, hops=settings.trusted_proxy_hops)

    def origin(self, forwarded: list[tuple[bytes, bytes]], client: Address, scheme: str) -> Origin:
        """
        Address and scheme of a request.

        Args:
            forwarded: Its headers that are in ``EDGE_HEADERS``; may be empty.
            client: The peer as the server put it into the scope.
            scheme: The scope's.
        """
        if self._is_proven(forwarded):
            return self._believed(forwarded, client, scheme)
        names = {name for name, _ in forwarded}
        if FORWARDED_FOR in names and client is not None and client[1] == 0:
            # Port 0 is uvicorn's mark for an address that it took from the header.
            client = _LOOPBACK
        return Origin(
            client=client,
            scheme="http" if FORWARDED_PROTO in names else scheme,
            is_proven=False,
        )

    def _is_proven(self, forwarded: list[tuple[bytes, bytes]]) -> bool:
        proofs = [value for name, value in forwarded if name == PROOF]
        if self.token is None or len(proofs) != 1:
            return False
        return hmac.compare_digest(proofs[0], self.token)

    def _believed(
        self, forwarded: list[tuple[bytes, bytes]], client: Address, scheme: str
    ) -> Origin:
        hops = [
            hop.strip()
            for name, value in forwarded
            if name == FORWARDED_FOR
            for hop in value.decode("latin-1").split(",")
        ]
        # The edge's own entry is the last; each trusted proxy before it wrote one more.
        address = _address(hops[max(0, len(hops) - 1 - self.hops)]) if hops else None
        protocols = [value for name, value in forwarded if name == FORWARDED_PROTO]
        if protocols and protocols[-1].strip().lower() in (b"http", b"https"):
            scheme = protocols[-1].strip().lower().decode("ascii")
        return Origin(
            client=client if address is None else (address, 0), scheme=scheme, is_proven=True
        )


def _address(text: str) -> str | None:
    bare = text.removeprefix("[").partition("]")[0] if text.startswith("[") else text
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return None
