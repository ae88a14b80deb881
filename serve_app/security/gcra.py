"""
GCRA, the generic cell rate algorithm: one number a bucket, the time at which it would be empty.

The same arithmetic twice: in Lua for what all replicas share, in Python for one process alone.
Source: ITU-T I.371, annex A; a bucket of ``limit`` a minute, burst = limit.
"""

from serve_app.security.shared_state import WINDOW_S

#: KEYS[1] bucket. ARGV: limit a minute, tokens to charge (negative: to give back), tokens wanted.
#: Returns tokens granted, tokens left, microseconds until the next one if fewer were granted.
#: A lease takes up to an eighth of what is left, so that a full bucket costs few calls and a
#: nearly empty one is shared fairly.
LEASE_SCRIPT = """
local window = 60000000
local limit, charge, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local interval = window / limit
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local empty_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
empty_at = math.max(now, math.min(empty_at + charge * interval, now + window))
local free = math.floor((now + window - empty_at) / interval + 0.000001)
local granted = 0
if want > 0 then granted = math.min(free, math.max(want, math.ceil(free / 8))) end
empty_at = empty_at + granted * interval
redis.call('SET', KEYS[1], string.format('%.0f', empty_at),
           'PX', math.ceil((empty_at - now) / 1000) + 1)
local wait = 0
if granted < want then wait = math.ceil(math.max(0, empty_at + interval - now - window)) end
return {granted, free - granted, wait}
"""


class LocalBucket:
    """One bucket of one process, for while the shared ones are away."""

    __slots__ = ("_empty_at",)

    def __init__(self) -> None:
        self._empty_at = 0.0

    def take(self, limit: float, now: float) -> float:
        """
        Take a token from a bucket of ``limit`` a minute.

        Args:
            limit: Tokens a minute, and the most it holds; at least 1.
            now: Seconds of a monotonic clock.

        Returns:
            0 if there was one, else the seconds until there is.
        """
        interval_s = WINDOW_S / limit
        empty_at = max(self._empty_at, now) + interval_s
        wait_s = empty_at - (now + WINDOW_S)
        # A microsecond of slack, since sums of intervals are not exact.
        if wait_s > 1e-6:  # noqa: PLR2004 - as the comment says
            return wait_s
        self._empty_at = empty_at
        return 0.0
