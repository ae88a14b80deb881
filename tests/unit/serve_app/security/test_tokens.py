"""Tokens hold for what they were made for; everything else an attacker makes of them does not."""

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from pydantic import SecretStr

from cluster.errors import InsecureSettings, NotAuthenticated
from cluster.settings import Settings
from serve_app.security.tokens import REFUSAL, Claims, Tokens, key_id

SECRET = "s" * 64
OTHER = "o" * 64
NOW_S = 1_800_000_000
USER, SESSION, TOKEN = (str(uuid.UUID(int=n)) for n in (1, 2, 3))

Document = dict[str, Any]


def tokens(secret: str = SECRET, *, previous: str | None = None, now_s: float = NOW_S) -> Tokens:
    return Tokens(secret, previous=previous, clock=lambda: now_s)


def good_payload() -> Document:
    return {
        "iss": "slipway",
        "aud": "slipway/api",
        "type": "access",
        "sub": USER,
        "sid": SESSION,
        "epoch": 0,
        "jti": TOKEN,
        "iat": NOW_S,
        "exp": NOW_S + 600,
    }


def good_header() -> Document:
    return {"alg": "HS256", "typ": "JWT", "kid": key_id(SECRET)}


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def forge(header: Document, payload: Document, secret: str | bytes = SECRET) -> str:
    """A token with any header at all, signed by HMAC-SHA256."""
    key = secret if isinstance(secret, bytes) else secret.encode()
    body = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(payload).encode())}"
    return f"{body}.{b64(hmac.new(key, body.encode(), hashlib.sha256).digest())}"


def without(document: Document, name: str) -> Document:
    return {key: value for key, value in document.items() if key != name}


def unsigned(algorithm: str) -> str:
    header = {**good_header(), "alg": algorithm}
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(good_payload()).encode())}."


def with_header(**changes: object) -> str:
    return forge({**good_header(), **changes}, good_payload())


def with_payload(**changes: object) -> str:
    return forge(good_header(), {**good_payload(), **changes})


def resigned(header: Document, algorithm: Callable[..., Any]) -> str:
    body = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(good_payload()).encode())}"
    return f"{body}.{b64(hmac.new(SECRET.encode(), body.encode(), algorithm).digest())}"


def swapped_payload() -> str:
    head, _, signature = forge(good_header(), good_payload()).split(".")
    payload = {**good_payload(), "sub": str(uuid.UUID(int=9))}
    return f"{head}.{b64(json.dumps(payload).encode())}.{signature}"


REFRESH = tokens().refresh(
    Claims(
        user_id=USER,
        session_id=SESSION,
        session_epoch=0,
        token_id=TOKEN,
        expires_at_s=NOW_S + 604_800,
    )
)
GOOD = forge(good_header(), good_payload())

ATTACKS: dict[str, str] = {
    # No signature.
    "algorithm none": unsigned("none"),
    "algorithm None": unsigned("None"),
    "algorithm nOnE": unsigned("nOnE"),
    "algorithm empty": unsigned(""),
    "signature cut off": GOOD.rpartition(".")[0] + ".",
    "signature missing": GOOD.rpartition(".")[0],
    # Another algorithm than the one that is pinned.
    "HS384 with our key": resigned({**good_header(), "alg": "HS384"}, hashlib.sha384),
    "HS512 with our key": resigned({**good_header(), "alg": "HS512"}, hashlib.sha512),
    "RS256 claimed, HMAC made": with_header(alg="RS256"),
    "ES256 claimed, HMAC made": with_header(alg="ES256"),
    "EdDSA claimed, HMAC made": with_header(alg="EdDSA"),
    "algorithm a list": with_header(alg=["HS256"]),
    "algorithm null": with_header(alg=None),
    # Keys that the attacker chooses.
    "another key under our id": forge(good_header(), good_payload(), OTHER),
    "another key under its own id": forge(
        {**good_header(), "kid": key_id(OTHER)}, good_payload(), OTHER
    ),
    "empty key": forge(good_header(), good_payload(), b""),
    "the key id as the key": forge(good_header(), good_payload(), key_id(SECRET)),
    "a path for a key id": forge({**good_header(), "kid": "../../dev/null"}, good_payload(), b""),
    "SQL for a key id": forge(
        {**good_header(), "kid": "x' UNION SELECT 'k'--"}, good_payload(), "k"
    ),
    "no key id": forge(without(good_header(), "kid"), good_payload()),
    "key id a number": with_header(kid=0),
    "key id null": with_header(kid=None),
    "key id a list": with_header(kid=[key_id(SECRET)]),
    "jwk in the header": with_header(jwk={"kty": "oct", "k": b64(SECRET.encode())}),
    "jku in the header": with_header(jku="https://evil.example/keys"),
    "x5u in the header": with_header(x5u="https://evil.example/certificate"),
    "x5c in the header": with_header(x5c=["MIIB"]),
    "critical extension": with_header(crit=["exp"]),
    "detached payload": with_header(b64=False, crit=["b64"]),
    "encrypted type": with_header(typ="JWE"),
    "no type in the header": forge(without(good_header(), "typ"), good_payload()),
    # Claims.
    "refresh used as access": REFRESH,
    "type refresh, audience access": with_payload(type="refresh"),
    "type access, audience refresh": with_payload(aud="slipway/refresh"),
    "both audiences": with_payload(aud=["slipway/api", "slipway/refresh"]),
    "audience of another service": with_payload(aud="other"),
    "audience empty": with_payload(aud=""),
    "audience a prefix": with_payload(aud="slipway/ap"),
    "another issuer": with_payload(iss="evil"),
    "issuers": with_payload(iss=["slipway", "evil"]),
    **{
        f"no {name}": forge(good_header(), without(good_payload(), name)) for name in good_payload()
    },
    "expired beyond the leeway": with_payload(exp=NOW_S - 31),
    "expiry a string": with_payload(exp=str(NOW_S + 600)),
    "expiry infinite": with_payload(exp=float("inf")),
    "expiry not a number": with_payload(exp=float("nan")),
    "expiry true": with_payload(exp=True),
    "expiry null": with_payload(exp=None),
    "issued in the future": with_payload(iat=NOW_S + 31),
    "not before in the future": with_payload(nbf=NOW_S + 31),
    "epoch a string": with_payload(epoch="0"),
    "subject no id": with_payload(sub="admin"),
    "subject a list": with_payload(sub=[USER]),
    "session no id": with_payload(sid="../x"),
    # Forms.
    "payload exchanged": swapped_payload(),
    "empty": "",
    "one dot": ".",
    "two dots": "..",
    "not base64": "a.b.c",
    "four parts": GOOD + ".x",
    "with white space": GOOD + " ",
    "with a NUL": GOOD + "\x00",
    "not ASCII": GOOD + "é",
    "lone surrogate": GOOD + "\ud800",
    "payload a list": f"{b64(json.dumps(good_header()).encode())}.{b64(b'[]')}.x",
    "header a list": f"{b64(b'[]')}.{b64(b'{}')}.x",
    "endless": "a" * 100_000,
    "endless but signed": with_payload(padding="a" * 5000),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_like_any_other(name: str) -> None:
    with pytest.raises(NotAuthenticated) as refusal:
        tokens().verify(ATTACKS[name], "access")

    assert refusal.value.message == REFUSAL


def test_there_are_more_than_thirty_attacks() -> None:
    assert len(set(ATTACKS.values())) == len(ATTACKS) > 30


def test_the_token_that_the_attacks_vary_is_accepted() -> None:
    assert tokens().verify(GOOD, "access").user_id == USER


def test_an_access_token_says_whose_session_of_which_epoch_it_is() -> None:
    claims = tokens().verify(tokens().access(USER, SESSION, 7), "access")

    assert (claims.user_id, claims.session_id, claims.session_epoch) == (USER, SESSION, 7)
    assert claims.expires_at_s == NOW_S + 1800


def test_an_access_token_is_no_refresh_token() -> None:
    with pytest.raises(NotAuthenticated):
        tokens().verify(tokens().access(USER, SESSION, 0), "refresh")


def test_equal_claims_make_an_equal_refresh_token() -> None:
    claims = tokens().verify(REFRESH, "refresh")

    assert tokens(now_s=NOW_S + 5).refresh(claims) == REFRESH


def test_a_token_of_the_previous_key_holds_while_keys_rotate() -> None:
    old = tokens(OTHER).access(USER, SESSION, 0)

    assert tokens(SECRET, previous=OTHER).verify(old, "access").user_id == USER


def test_new_tokens_are_signed_by_the_new_key() -> None:
    new = tokens(SECRET, previous=OTHER).access(USER, SESSION, 0)

    assert tokens(SECRET).verify(new, "access").user_id == USER
    with pytest.raises(NotAuthenticated):
        tokens(OTHER).verify(new, "access")


@pytest.mark.parametrize(
    ("late_s", "is_accepted"),
    [
        (-1, True),  # before its end
        (5, True),  # clocks differ
        (10, False),  # the leeway's end
    ],
)
def test_the_end_of_a_token_has_ten_seconds_of_leeway(late_s: int, *, is_accepted: bool) -> None:
    token = with_payload(exp=NOW_S - late_s)

    if is_accepted:
        assert tokens().verify(token, "access").user_id == USER
    else:
        with pytest.raises(NotAuthenticated):
            tokens().verify(token, "access")


def test_the_key_id_does_not_reveal_the_key() -> None:
    header = jwt.get_unverified_header(tokens().access(USER, SESSION, 0))

    assert header["kid"] == key_id(SECRET)
    assert header["kid"] not in SECRET
    assert key_id(SECRET) != key_id(OTHER)


def test_settings_without_a_secret_make_no_tokens() -> None:
    with pytest.raises(InsecureSettings, match="SECRET_KEY"):
        Tokens.from_settings(Settings(_env_file=None, secret_key=SecretStr("")))


def test_settings_choose_lifetimes_and_algorithm() -> None:
    settings = Settings(
        _env_file=None,
        secret_key=SecretStr(SECRET),
        algorithm="HS512",
        access_token_expire_minutes=5,
    )

    made = Tokens.from_settings(settings)

    assert made.access_lifetime_s == 300
    assert jwt.get_unverified_header(made.access(USER, SESSION, 0))["alg"] == "HS512"
