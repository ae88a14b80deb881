"""
Attempts at passwords: few a minute for each address and each account, slower the longer they fail.

An attempt is charged before it is evaluated and given back when it succeeds, so a flood cannot slip
between look and count.  What is refused is not charged: the longest wait is a minute, whoever
attacks.  An address from which an account has signed in before has its own count for it, so
strangers cannot lock its owner out.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from cluster.errors import RateLimited
from cluster.metrics import FAIL_OPEN, LIMITS_HIT
from serve_app.security.decisions import address_bucket, rate_limit_headers
from serve_app.security.local_attempts import LocalAttempts
from serve_app.security.shared_state import Scripts, SharedStateAway

#: Failures are remembered this long after the last one.
MEMORY_S = 900
#: An address stays known to an account this long after its last login.
KNOWN_S = 30 * 86_400

#: KEYS: address bucket, account bucket, the account's bucket for this address, known mark.
#: ARGV: limit a minute, memory in s. Returns 0, or microseconds to wait; and 1 if the address is
#: known. Every full run of failures doubles the interval, up to a minute.
ATTEMPT_SCRIPT = """
local window, limit, memory = 60000000, tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local known = redis.call('EXISTS', KEYS[4])
local account = KEYS[2]
if known == 1 then account = KEYS[3] end
local wait, states = 0, {}
for i, key in ipairs({KEYS[1], account}) do
  local saved = redis.call('HMGET', key, 'empty_at', 'failures')
  local failures = tonumber(saved[2] or 0)
  local interval = math.min(window, window / limit * 2 ^ math.floor(failures / limit))
  local empty_at = math.max(tonumber(saved[1] or now), now) + interval
  states[i] = {key, empty_at, failures + 1}
  wait = math.max(wait, math.ceil(empty_at - now - window - 1))
end
if wait > 0 then return {wait, known} end
for _, state in ipairs(states) do
  redis.call('HSET', state[1], 'empty_at', string.format('%.0f', state[2]), 'failures', state[3])
  redis.call('EXPIRE', state[1], memory)
end
return {0, known}
"""

#: KEYS as above. ARGV: limit a minute, 1 if the address was known, seconds to know it from now.
SUCCESS_SCRIPT = """
local window, limit = 60000000, tonumber(ARGV[1])
local account = KEYS[2]
if tonumber(ARGV[2]) == 1 then account = KEYS[3] end
for _, key in ipairs({KEYS[1], account}) do
  local saved = redis.call('HMGET', key, 'empty_at', 'failures')
  local failures = tonumber(saved[2] or 0) - 1
  if saved[1] and failures >= 0 then
    local interval = math.min(window, window / limit * 2 ^ math.floor(failures / limit))
    local empty_at = string.format('%.0f', tonumber(saved[1]) - interval)
    redis.call('HSET', key, 'empty_at', empty_at, 'failures', failures)
  end
end
redis.call('SET', KEYS[4], '1', 'EX', tonumber(ARGV[3]))
return {1}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """An attempt that may be evaluated; hand it to ``succeeded`` if it was right."""

    keys: tuple[str, ...]
    is_known: bool
    #: Whether this process alone counted it.
    is_local: bool


class Lockout:
    """Decides which attempts at a password are evaluated at all."""

    def __init__(
        self,
        scripts: Scripts,
        *,
        limit: int,
        prefix: str,
        replicas: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scripts = scripts
        self._limit = limit
        self._prefix = prefix
        self._local = LocalAttempts(limit=max(1, limit // replicas), clock=clock)

    async def attempt(self, address: str | None, account: str) -> Attempt:
        """
        Charge an attempt at ``account``, which need not exist.

        Raises:
            RateLimited: If this address or this account has had too many.
        """
        keys = self._keys(address, account)
        try:
            wait_us, known = await self._scripts.run(ATTEMPT_SCRIPT, keys, [self._limit, MEMORY_S])
        except SharedStateAway:
            FAIL_OPEN.record(what="lockout")
            self._refuse_after(self._local.charge(keys[:2]))
            return Attempt(keys=keys, is_known=False, is_local=True)
        self._refuse_after(wait_us / 1e6)
        return Attempt(keys=keys, is_known=bool(known), is_local=False)

    async def succeeded(self, attempt: Attempt) -> None:
        """Give the attempt back and know its address from now on."""
        if attempt.is_local:
            self._local.give_back(attempt.keys[:2])
            return
        arguments = [self._limit, int(attempt.is_known), KNOWN_S]
        try:
            await self._scripts.run(SUCCESS_SCRIPT, attempt.keys, arguments)
        except SharedStateAway:
            FAIL_OPEN.record(what="lockout")

    def _keys(self, address: str | None, account: str) -> tuple[str, ...]:
        place = _digest(address_bucket(address))
        user = _digest(account.lower())
        prefix = f"{self._prefix}login:"
        return (
            f"{prefix}address:{place}",
            f"{prefix}account:{user}",
            f"{prefix}account:{user}:{place}",
            f"{prefix}known:{user}:{place}",
        )

    def _refuse_after(self, wait_s: float) -> None:
        if wait_s <= 0:
            return
        LIMITS_HIT.record(route_class="login")
        raise RateLimited(
            "too many attempts to sign in: wait, then try again",
            retry_after_s=wait_s,
            headers=rate_limit_headers("login", self._limit, 0, wait_s),
        )


def _digest(text: str) -> str:
    # Addresses and e-mails stay out of Valkey, and no key has a length that a caller chooses.
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
