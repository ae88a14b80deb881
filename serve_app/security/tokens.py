"""
Access and refresh tokens: JWTs signed with SECRET_KEY, told apart by type and audience.

The key id names the key by its digest, so SECRET_KEY_PREVIOUS verifies what it signed while
SECRET_KEY is rotated; nothing in a token chooses the algorithm.
"""

import hashlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

import jwt

from cluster.errors import InsecureSettings, NotAuthenticated
from cluster.settings import Settings

ISSUER = "slipway"
#: Clocks of replicas and clients differ; faults.md allows at most 30 s.
LEEWAY_S = 10
#: No token of ours is longer; what is longer is not looked at.
MAX_TOKEN_LENGTH = 2048
TokenType = Literal["access", "refresh"]
#: One audience a type, so that even a verifier that forgets the type tells them apart.
AUDIENCES: dict[TokenType, str] = {"access": "slipway/api", "refresh": "slipway/refresh"}
REQUIRED_CLAIMS = ["sub", "sid", "epoch", "type", "aud", "iss", "iat", "exp", "jti"]
#: The one sentence for every credential that does not hold.
REFUSAL = "no valid credential: sign in again, or send an API key that is still valid"


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """What a verified token says."""

    user_id: str
    session_id: str
    session_epoch: int
    token_id: str
    #: Unix time.
    expires_at_s: int


def key_id(secret: str) -> str:
    """Public name of a signing key: 16 hex digits that say nothing about it."""
    return hashlib.sha256(b"slipway token key id\0" + secret.encode()).hexdigest()[:16]


class Tokens:
    """Signs and verifies the two kinds of tokens."""

    def __init__(
        self,
        secret: str,
        *,
        previous: str | None = None,
        algorithm: str = "HS256",
        access_lifetime_s: int = 1800,
        refresh_lifetime_s: int = 604_800,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secret = secret
        self._key_id = key_id(secret)
        self._keys = {key_id(key): key for key in (previous, secret) if key}
        self._algorithm = algorithm
        self._clock = clock
        self.access_lifetime_s = access_lifetime_s
        self.refresh_lifetime_s = refresh_lifetime_s

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """
        Tokens as the settings want them.

        Raises:
            InsecureSettings: If there is no SECRET_KEY.
        """
        if settings.secret_key is None or not settings.secret_key.get_secret_value():
            raise InsecureSettings("SECRET_KEY is missing: `slipway up` makes one in development")
        previous = settings.secret_key_previous
        return cls(
            settings.secret_key.get_secret_value(),
            previous=previous.get_secret_value() if previous else None,
            algorithm=settings.algorithm,
            access_lifetime_s=settings.access_token_expire_minutes * 60,
            refresh_lifetime_s=settings.refresh_token_expire_days * 86_400,
        )

    def access(self, user_id: str, session_id: str, session_epoch: int) -> str:
        """A new access token."""
        now_s = int(self._clock())
        return self._sign(
            "access",
            user_id=user_id,
            session_id=session_id,
            session_epoch=session_epoch,
            token_id=str(uuid.uuid4()),
            issued_at_s=now_s,
            expires_at_s=now_s + self.access_lifetime_s,
        )

    def refresh(self, claims: Claims) -> str:
        """
        The refresh token that these claims describe; equal claims give an equal token.

        A client that repeats a refresh within the grace gets the same successor because of that.
        """
        return self._sign(
            "refresh",
            user_id=claims.user_id,
            session_id=claims.session_id,
            session_epoch=claims.session_epoch,
            token_id=claims.token_id,
            issued_at_s=claims.expires_at_s - self.refresh_lifetime_s,
            expires_at_s=claims.expires_at_s,
        )

    def verify(self, token: str, kind: TokenType) -> Claims:
        """
        What a token of this kind says, once signature, times and origin hold.

        Raises:
            NotAuthenticated: In one and the same way for everything that is wrong with it.
        """
        try:
            payload = self._decode(token, kind)
            return Claims(
                user_id=str(uuid.UUID(payload["sub"])),
                session_id=str(uuid.UUID(payload["sid"])),
                session_epoch=_integer(payload["epoch"]),
                token_id=str(uuid.UUID(payload["jti"])),
                expires_at_s=_integer(payload["exp"]),
            )
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError, UnicodeError) as error:
            raise NotAuthenticated(REFUSAL, reason=type(error).__name__) from error

    def _decode(self, token: str, kind: TokenType) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_LENGTH:
            raise ValueError("longer than any token of ours")
        header = jwt.get_unverified_header(token)
        # The header may name one of our keys and nothing else; a header that brings or points to
        # a key (jwk, jku, x5u), or marks extensions as critical, is not ours.
        if set(header) != {"alg", "typ", "kid"} or header["typ"] != "JWT":
            raise ValueError("not a header of ours")
        key = self._keys.get(header["kid"])
        if key is None:
            raise ValueError("unknown key id")
        payload: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[self._algorithm],
            audience=AUDIENCES[kind],
            issuer=ISSUER,
            options={
                "require": REQUIRED_CLAIMS,
                # Times are checked below, by the injected clock.
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "strict_aud": True,
            },
        )
        self._check_times(payload)
        if payload["type"] != kind:
            raise ValueError("a token of the other type")
        return payload

    def _check_times(self, payload: dict[str, Any]) -> None:
        now_s = self._clock()
        if _integer(payload["exp"]) <= now_s - LEEWAY_S:
            raise ValueError("expired")
        starts = [_integer(payload[name]) for name in ("iat", "nbf") if name in payload]
        if any(start > now_s + LEEWAY_S for start in starts):
            raise ValueError("not yet valid")

    def _sign(
        self,
        kind: TokenType,
        *,
        user_id: str,
        session_id: str,
        session_epoch: int,
        token_id: str,
        issued_at_s: int,
        expires_at_s: int,
    ) -> str:
        payload = {
            "iss": ISSUER,
            "aud": AUDIENCES[kind],
            "type": kind,
            "sub": user_id,
            "sid": session_id,
            "epoch": session_epoch,
            "jti": token_id,
            "iat": issued_at_s,
            "exp": expires_at_s,
        }
        headers = {"kid": self._key_id}
        return jwt.encode(payload, self._secret, algorithm=self._algorithm, headers=headers)


def _integer(value: object) -> int:
    # bool is an int to Python, and a float or a string may hide infinities.
    if type(value) is not int:
        raise ValueError("not an integer")
    return value
