"""
Password hashes: Argon2id in threads of their own, a few at a time.

Each hash takes 19 MiB and tens of milliseconds, so both the number that run and the number that
wait are bounded; a login for an unknown user costs the same as one for a known user.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from cluster.errors import InvalidInput, Overloaded

MINIMUM_LENGTH = 12
MAXIMUM_LENGTH = 128
#: OWASP's smallest Argon2id setting: 19 MiB, two passes, one lane.
MEMORY_KIB = 19 * 1024
PASSES = 2
#: Hashes computed at a time in one process.
CONCURRENCY = 2
#: Callers that may wait for their turn, about six seconds of work.
MAX_WAITING = 256
T = TypeVar("T")


def check_password(password: str) -> None:
    """
    Return if the password may be chosen.

    Raises:
        InvalidInput: If it is too short or too long.
    """
    if not MINIMUM_LENGTH <= len(password) <= MAXIMUM_LENGTH:
        raise InvalidInput(
            f"a password has {MINIMUM_LENGTH} to {MAXIMUM_LENGTH} characters: choose another one"
        )


class Passwords:
    """Hashes and verifies passwords off the event loop."""

    def __init__(
        self, *, memory_kib: int = MEMORY_KIB, passes: int = PASSES, max_waiting: int = MAX_WAITING
    ) -> None:
        self._hasher = PasswordHasher(
            time_cost=passes, memory_cost=memory_kib, parallelism=1, type=Type.ID
        )
        self._executor = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="passwords")
        self._turns = asyncio.Semaphore(CONCURRENCY)
        self._waiting = 0
        self._max_waiting = max_waiting
        # Verified when there is no such user, so that both answers take the same time.
        self._dummy = self._hasher.hash("no such user has this password")

    async def hash(self, password: str) -> str:
        """
        An encoded Argon2id hash with its own salt.

        Raises:
            Overloaded: If too many wait.
        """
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, stored: str | None, password: str) -> bool:
        """
        Whether ``password`` fits the ``stored`` hash; ``None`` stands for an unknown user.

        Raises:
            Overloaded: If too many wait.
        """
        return await self._run(lambda: self._verify_now(stored, password))

    def needs_rehash(self, stored: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """End the threads; a hash under way is finished."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _verify_now(self, stored: str | None, password: str) -> bool:
        try:
            is_right = self._hasher.verify(stored or self._dummy, password)
        except (VerificationError, InvalidHashError):
            return False
        return is_right and stored is not None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= self._max_waiting:
            raise Overloaded("too many people are signing in: try again", retry_after_s=5)
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._waiting -= 1
