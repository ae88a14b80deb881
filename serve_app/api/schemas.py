"""What the routes of accounts and keys take and answer; unknown members are refused by name."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from serve_app.api.timestamps import Timestamp
from serve_app.registry.keys import KeyRecord
from serve_app.registry.users import Account
from serve_app.security.accounts import TokenPair
from serve_app.security.principals import Role, Scope

#: Longer ones are never looked at; the bound for a password that is chosen is its own.
Password = Annotated[str, Field(min_length=1, max_length=1024)]
#: What may be chosen as one; ``check_password`` refuses the rest in words of its own.
NewPassword = Annotated[Password, Field(json_schema_extra={"minLength": 12, "maxLength": 128})]
Email = Annotated[str, Field(max_length=254)]
NewEmail = Annotated[Email, Field(json_schema_extra={"pattern": r"^[^@\s]+@[^@\s]+$"})]
Token = Annotated[str, Field(min_length=1, max_length=4096)]
RateLimit = Annotated[int, Field(ge=1, le=1_000_000_000)]
Quota = Annotated[int, Field(ge=0, le=2**53)]


class Body(BaseModel):
    """A request body: no conversions between types, no unknown members."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Registration(Body):
    """A new account."""

    email: NewEmail
    password: NewPassword
    full_name: str | None = Field(None, max_length=200)


class Credentials(Body):
    """Who signs in."""

    email: Email
    password: Password


class RefreshBody(Body):
    """The refresh token to spend."""

    refresh_token: Token


class LogoutBody(Body):
    """The session to end."""

    refresh_token: Token
    everywhere: bool = Field(False, description="End every session of the account.")


class PasswordChange(Body):
    """The present password and the next."""

    current: Password
    new: NewPassword


class PasswordReset(Body):
    """The password an administrator gives; none makes one, which is shown once."""

    new: NewPassword | None = None


class KeyRequest(Body):
    """A new API key."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")
    scopes: list[Scope] | None = Field(None, min_length=1, description="predict, if absent.")
    models: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(
        None, min_length=1, max_length=100, description="Names of yours, or ids; all, if absent."
    )
    expires_at: Timestamp | None = None
    rate_limit: RateLimit | None = Field(
        None, description="Requests a minute in a bucket of the key's own."
    )


class KeyRotation(Body):
    """How long the old key holds beside the new one."""

    overlap_s: int = Field(
        3600, ge=0, le=30 * 86_400, description="Seconds until the old key ends; 0 ends it now."
    )


class UserLimits(Body):
    """An administrator's overrides; null takes one back."""

    rate_limit: RateLimit | None = None
    max_models: Quota | None = None
    max_bytes: Quota | None = None
    max_keys: Quota | None = None


class UserPatch(Body):
    """What an administrator changes."""

    role: Role | None = None
    is_active: bool | None = None
    limits: UserLimits | None = None


class TokenAnswer(BaseModel):
    """A pair of tokens."""

    access_token: str
    refresh_token: str
    token_type: str = "bearer"  # noqa: S105 - the name of a type, by RFC 6750
    expires_in: int

    @classmethod
    def of(cls, pair: TokenPair) -> Self:
        """The answer that carries a pair."""
        return cls(
            access_token=pair.access_token,
            refresh_token=pair.refresh_token,
            expires_in=pair.expires_in_s,
        )


class UserAnswer(BaseModel):
    """An account, as its owner sees it."""

    id: str
    email: str
    role: str
    full_name: str | None
    created_at: datetime

    @classmethod
    def of(cls, account: Account) -> Self:
        """The answer for an account."""
        return cls(
            id=account.id,
            email=account.email,
            role=account.role,
            full_name=account.full_name,
            created_at=account.created_at,
        )


class MeAnswer(UserAnswer):
    """The caller: the account, and what the credential adds."""

    scopes: list[str] | None
    key_id: str | None
    limits: dict[str, int]


class AdminUserAnswer(UserAnswer):
    """An account, as administrators see it."""

    is_active: bool
    limits: dict[str, int]

    @classmethod
    def of(cls, account: Account) -> Self:
        """The answer for an account."""
        return cls(
            **UserAnswer.of(account).model_dump(),
            is_active=account.is_active,
            limits=dict(account.limits),
        )


class ResetAnswer(BaseModel):
    """What a reset did; ``password`` is there, once, where we made it."""

    id: str
    password: str | None = None


class KeyAnswer(BaseModel):
    """A key, without the key."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    models: list[str] | None
    rate_limit: int | None
    expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, record: KeyRecord, **more: object) -> Self:
        """The answer for a key."""
        return cls.model_validate({**_members(record), **more})


class NewKeyAnswer(KeyAnswer):
    """A key at the one moment when it is shown."""

    key: str


class RotatedKeyAnswer(NewKeyAnswer):
    """The new key, shown once, and until when the old one holds."""

    replaces: str = Field(description="Id of the old key.")
    old_expires_at: datetime


class Page(BaseModel):
    """Where a page of a list stands."""

    total: int
    limit: int
    offset: int


class UserPage(Page):
    """One page of accounts."""

    items: list[AdminUserAnswer]


class KeyPage(Page):
    """One page of keys."""

    items: list[KeyAnswer]


def _members(key: KeyRecord) -> dict[str, object]:
    return {name: getattr(key, name) for name in KeyAnswer.model_fields} | {
        "scopes": list(key.scopes),
        "models": None if key.models is None else list(key.models),
    }
