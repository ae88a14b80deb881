"""The headers that every response carries, whoever made it; a route may set its own instead."""

from cluster.settings import Settings

#: What a page of ours may load: itself. ``/docs`` sends its own, wider policy.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
Header = tuple[bytes, bytes]
_ALWAYS: tuple[Header, ...] = (
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-xss-protection", b"1; mode=block"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
#: Sent unless the route chose its own value.
_DEFAULTS: tuple[Header, ...] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"cache-control", b"no-store"),
)
_TRANSPORT: Header = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


class SecurityHeaders:
    """Completes response headers in one pass."""

    def __init__(self, settings: Settings) -> None:
        is_production = settings.environment == "production"
        self._fixed = _ALWAYS + ((_TRANSPORT,) if is_production else ())
        self._fixed_names = frozenset(name for name, _ in self._fixed)
        self._all = self._fixed + _DEFAULTS

    def complete(self, headers: list[Header], *, also_replaced: bytes) -> list[Header]:
        """The headers with ours, and without ``also_replaced``, which the caller adds itself."""
        kept = [
            header
            for header in headers
            if header[0] not in self._fixed_names and header[0] != also_replaced
        ]
        present = {name for name, _ in kept}
        if present.isdisjoint(_DEFAULT_NAMES):
            kept.extend(self._all)
        else:
            kept.extend(self._fixed)
            kept.extend(header for header in _DEFAULTS if header[0] not in present)
        return kept


_DEFAULT_NAMES = frozenset(name for name, _ in _DEFAULTS)
