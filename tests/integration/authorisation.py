"""The callers, subjects and requests of the authorisation matrix."""

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI
from sqlalchemy.orm import Session

from cluster.contracts import PredictCall, PredictReply, Signature, VersionRef
from serve_app.registry import users
from serve_app.registry.aliases import set_alias
from serve_app.registry.keys import KeySpec, create_key
from serve_app.registry.models import create_model_with_version
from serve_app.registry.quotas import Quota
from serve_app.registry.sessions import open_session
from serve_app.registry.users import Account
from serve_app.registry.versions import add_version
from serve_app.security.api_keys import make_key
from serve_app.security.principals import Principal
from serve_app.security.tokens import Claims, Tokens
from serve_app.services import Services
from tests.integration.models_api.conftest import NotingLoaders, skops_file
from tests.integration.registry.conftest import new_version

PASSWORD = "correct horse battery"
PLENTY = Quota(max_models=10**6, max_bytes=10**12)
#: Who asks, in the order of the declared table's columns.
CALLERS = (
    "anonymous",
    "expired",  # an access token of the owner's, out of time
    "refresh",  # a refresh token of the owner's in place of an access token
    "revoked",  # a key of the owner's
    "owner",
    "member",  # somebody else
    "publisher",  # somebody else
    "admin",
    "predict",  # the owner's keys, one scope each
    "models:read",
    "models:write",
    "keys",
    "tied_here",  # a key of the owner's for this model, every scope a member has
    "tied_elsewhere",  # the same for another model of the owner's
    "admin_key",  # an admin's keys: the scope admin alone, and all but it
    "admin_rest",
)
SCOPES = ["predict", "models:read", "models:write", "keys"]
Headers = dict[str, str]


class ZeroPredictors:
    """Predicts zero for everything."""

    async def predict(self, call: PredictCall) -> PredictReply:
        values = np.zeros(call.batch.rows)
        return PredictReply(values=values, cost_s=1e-5, engine="linear")

    async def warm(self, version: VersionRef, signature: Signature) -> None:
        """Everything is warm."""

    async def ping(self) -> None:
        """Answer."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a request is about: a private model of the owner's with two versions, a key, a user."""

    model: str
    key: str
    user: str
    email: str
    refresh_token: str


@dataclass(kw_only=True)
class World:
    """The application, its callers' credentials, and subjects without end."""

    http: httpx.AsyncClient
    services: Services
    loaders: NotingLoaders
    owner: Account
    callers: dict[str, Headers]
    #: The model that the key ``tied_here`` is tied to, and everything that goes with it.
    fixed: Subject

    async def fresh(self) -> Subject:
        """A subject of its own for a request that changes it."""
        return await make_subject(self.services, self.loaders, self.owner)


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of every route, also of routers that are included in others."""
    pending = list(app.routes)
    while pending:
        route = pending.pop()
        included = getattr(route, "original_router", None)
        if included is not None:
            pending += included.routes
            continue
        path = getattr(route, "path", repr(route))
        for method in getattr(route, "methods", None) or {"*"}:
            yield method, path


async def make_account(services: Services, role: str) -> Account:
    """A new account with ``PASSWORD``."""
    email = f"{uuid.uuid4().hex}@example.org"
    password_hash = await services.passwords.hash(PASSWORD)
    make = partial(users.create_user, email=email, password_hash=password_hash, role=role)
    return (await services.database.write(make)).value


async def make_subject(services: Services, loaders: NotingLoaders, owner: Account) -> Subject:
    """A model of the owner's, a key for it, and a user with a session."""
    email, password_hash = (
        f"{uuid.uuid4().hex}@example.org",
        await services.passwords.hash(PASSWORD),
    )

    def make(session: Session) -> tuple[Account, str, str, Claims]:
        account = users.create_user(
            session, email=email, password_hash=password_hash, role="member"
        )
        model = _make_model(session, loaders, owner)
        opened = open_session(
            session, account.id, session_epoch=0, lifetime_s=600, now=datetime.now(UTC)
        )
        claims = Claims(
            user_id=account.id,
            session_id=opened.family_id,
            session_epoch=0,
            token_id=opened.token_id,
            expires_at_s=int(opened.expires_at.timestamp()),
        )
        return account, model, _make_key(session, owner, ["keys"], model)[0], claims

    account, model, key, claims = (await services.database.write(make)).value
    return Subject(
        model=model,
        key=key,
        user=account.id,
        email=account.email,
        refresh_token=services.tokens.refresh(claims),
    )


async def make_owner_key(services: Services, owner: Account, model: str) -> str:
    """A key of the owner's for one model, with every scope a member has."""
    written = await services.database.write(
        lambda session: _make_key(session, owner, SCOPES, model)[1]
    )
    return written.value


def _make_key(session: Session, owner: Account, scopes: list[str], model: str) -> tuple[str, str]:
    new = make_key()
    spec = KeySpec(name=uuid.uuid4().hex, scopes=tuple(scopes), models=(model,))
    record = create_key(session, owner.id, spec, prefix=new.prefix, key_sha256=new.sha256)
    return record.id, new.text


def _make_model(session: Session, loaders: NotingLoaders, owner: Account) -> str:
    viewer = Principal(user_id=owner.id, email=owner.email, role=owner.role)
    files = [uuid.uuid4().bytes for _ in range(2)]
    first, second = (new_version(content) for content in files)
    loaders.stored.update({first.sha256: files[0], second.sha256: files[1]})
    record = create_model_with_version(
        session, owner_id=owner.id, name=f"m{uuid.uuid4().hex[:12]}", new=first, quota=PLENTY
    )
    add_version(session, viewer, record.model.id, second, quota=PLENTY)
    set_alias(session, viewer, record.model.id, "spare", 1)
    return record.model.id


async def make_callers(
    services: Services, http: httpx.AsyncClient, owner: Account, model: str, elsewhere: str
) -> dict[str, Headers]:
    """Credentials of every caller."""
    accounts = {"owner": owner} | {
        role: await make_account(services, role) for role in ("member", "publisher", "admin")
    }
    callers: dict[str, Headers] = {"anonymous": {}}
    for name, account in accounts.items():
        callers[name] = await _sign_in(http, account)
    callers |= await _bad_tokens(services, owner)

    async def key(of: str, scopes: list[str], models: list[str] | None = None) -> dict[str, Any]:
        sent = {"name": uuid.uuid4().hex, "scopes": scopes, "models": models}
        answer = await http.post("/api/v1/api-keys", json=sent, headers=callers[of])
        made: dict[str, Any] = answer.raise_for_status().json()
        return made

    for scope in SCOPES:
        callers[scope] = {"X-API-Key": (await key("owner", [scope]))["key"]}
    callers["tied_here"] = {"X-API-Key": (await key("owner", SCOPES, [model]))["key"]}
    callers["tied_elsewhere"] = {"X-API-Key": (await key("owner", SCOPES, [elsewhere]))["key"]}
    callers["admin_key"] = {"X-API-Key": (await key("admin", ["admin"]))["key"]}
    callers["admin_rest"] = {"X-API-Key": (await key("admin", SCOPES))["key"]}
    revoked = await key("owner", SCOPES)
    await http.delete(f"/api/v1/api-keys/{revoked['id']}", headers=callers["owner"])
    callers["revoked"] = {"X-API-Key": revoked["key"]}
    return callers


async def _sign_in(http: httpx.AsyncClient, account: Account) -> Headers:
    sent = {"email": account.email, "password": PASSWORD}
    answer = (await http.post("/api/v1/auth/login", json=sent)).raise_for_status()
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def _bad_tokens(services: Services, owner: Account) -> dict[str, Headers]:
    def open_one(session: Session) -> Claims:
        opened = open_session(
            session, owner.id, session_epoch=0, lifetime_s=600, now=datetime.now(UTC)
        )
        return Claims(
            user_id=owner.id,
            session_id=opened.family_id,
            session_epoch=0,
            token_id=opened.token_id,
            expires_at_s=int(opened.expires_at.timestamp()),
        )

    claims = (await services.database.write(open_one)).value
    secret = services.settings.secret_key
    assert secret is not None
    yesterday = Tokens(secret.get_secret_value(), clock=lambda: time.time() - 86_400)
    expired = yesterday.access(owner.id, claims.session_id, 0)
    refresh = services.tokens.refresh(claims)
    return {
        "expired": {"Authorization": f"Bearer {expired}"},
        "refresh": {"Authorization": f"Bearer {refresh}"},
    }


def body_of(method: str, path: str, subject: Subject) -> dict[str, Any]:
    """Keyword arguments of the request that does what the route is for."""
    named = uuid.uuid4().hex[:12]
    rows = {"instances": [[1.0]]}
    tensor = {"name": "input", "shape": [1, 1], "datatype": "FP64", "data": [1.0]}
    upload = {"files": {"file": ("model", skops_file(named))}}
    bodies: Mapping[tuple[str, str], dict[str, Any]] = {
        ("POST", "/api/v1/auth/register"): {
            "json": {"email": f"{named}@example.org", "password": PASSWORD}
        },
        ("POST", "/api/v1/auth/login"): {"json": {"email": subject.email, "password": PASSWORD}},
        ("POST", "/api/v1/auth/refresh"): {"json": {"refresh_token": subject.refresh_token}},
        ("POST", "/api/v1/auth/logout"): {"json": {"refresh_token": subject.refresh_token}},
        # Refused for what it says once the caller is let pass, so that no session ends here.
        ("POST", "/api/v1/auth/password"): {"json": {"current": PASSWORD, "new": "short"}},
        ("POST", "/api/v1/api-keys"): {
            "json": {"name": named, "scopes": ["keys"], "models": [subject.model]}
        },
        ("POST", "/api/v1/api-keys/{key_id}/rotate"): {"json": {"overlap_s": 0}},
        ("POST", "/api/v1/models"): upload | {"data": {"name": named}},
        ("POST", "/api/v1/models/{model}/versions"): upload,
        ("PATCH", "/api/v1/models/{model}"): {"json": {"description": named}},
        ("PUT", "/api/v1/models/{model}/owner"): {"json": {"owner": subject.email}},
        ("PUT", "/api/v1/models/{model}/aliases/{alias}"): {"json": {"version": 2}},
        ("PATCH", "/api/v1/users/{user_id}"): {"json": {"limits": {"max_models": 5}}},
        ("POST", "/api/v1/models/{model}/predict"): {"json": rows},
        ("POST", "/api/v1/predict"): {"json": {"model_id": subject.model, "input_data": [[1.0]]}},
        ("POST", "/v2/models/{model}/infer"): {"json": {"inputs": [tensor]}},
        ("POST", "/v2/models/{model}/versions/{version}/infer"): {"json": {"inputs": [tensor]}},
    }
    return bodies.get((method, path), {})


def filled(path: str, subject: Subject) -> str:
    """The path about a subject; version 2 is the one that no alias names."""
    parts = {
        "model": subject.model,
        "version": "2",
        "alias": "spare",
        "key_id": subject.key,
        "user_id": subject.user,
        "path:path": "docs.js",
    }
    for name, value in parts.items():
        path = path.replace(f"{{{name}}}", value)
    return path
