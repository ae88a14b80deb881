"""The cache of identities: by digest of the credential, found again by user and by key."""

import math
from dataclasses import dataclass
from typing import Self

from serve_app.registry.changes import EVERYTHING
from serve_app.registry.key_identities import KeyIdentity
from serve_app.security.principals import Principal

CAPACITY = 50_000


@dataclass(slots=True)
class Entry:
    """A principal and how long its credential holds."""

    principal: Principal
    #: Unix time; infinity for a key without expiry.
    expires_at_s: float
    filled_at: float
    noted_at: float = -math.inf

    @classmethod
    def of_key(cls, found: KeyIdentity, filled_at: float) -> Self:
        """What a key stands for, as the registry had it at ``filled_at``."""
        key = found.key
        principal = Principal(
            user_id=key.user_id,
            email=found.email,
            role=found.role,
            scopes=frozenset(key.scopes),
            models=None if key.models is None else frozenset(key.models),
            key_id=key.id,
            rate_limit=key.rate_limit,
            limits=found.limits,
        )
        expires_at_s = math.inf if key.expires_at is None else key.expires_at.timestamp()
        return cls(principal, expires_at_s, filled_at)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Ids whose change makes the entry void."""
        key_id = self.principal.key_id
        user_id = self.principal.user_id
        return (user_id,) if key_id is None else (user_id, key_id)


class IdentityCache:
    """At most ``capacity`` entries; a change of a user or a key drops what depended on it."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: dict[bytes, Entry] = {}
        self._by_subject: dict[str, set[bytes]] = {}
        #: Credentials that were refused, and the generation that this was true of.
        self._refused: dict[bytes, int] = {}
        self.generation = 0
        """Counts the changes heard of; what was read before one is not stored after it."""
        self.find = self._entries.get

    def store(self, key: bytes, entry: Entry, generation: int) -> None:
        """Keep an entry that was read at ``generation``, unless a change came meanwhile."""
        self.drop(key)
        if generation != self.generation:
            return
        while len(self._entries) >= self._capacity:
            self.drop(next(iter(self._entries)))
        self._entries[key] = entry
        for subject in entry.subjects:
            self._by_subject.setdefault(subject, set()).add(key)

    def refuse(self, key: bytes, generation: int) -> None:
        """Remember until the next change that the credential does not hold."""
        self.drop(key)
        if len(self._refused) >= self._capacity:
            self._refused.clear()
        self._refused[key] = generation

    def is_refused(self, key: bytes) -> bool:
        """Whether the credential was refused and nothing has changed since."""
        return self._refused.get(key) == self.generation

    def on_change(self, kind: str, subject: str) -> None:
        """Drop what a change makes void."""
        if kind not in ("user", "key"):
            return
        self.generation += 1
        self._refused.clear()
        if subject == EVERYTHING:
            self._entries.clear()
            self._by_subject.clear()
        for key in list(self._by_subject.get(subject, ())):
            self.drop(key)

    def drop(self, key: bytes) -> None:
        """Forget an entry, if there is one."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        for subject in entry.subjects:
            keys = self._by_subject[subject]
            keys.discard(key)
            if not keys:
                del self._by_subject[subject]
