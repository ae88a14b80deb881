"""
What people do with their account: register, sign in, stay signed in, sign out, change passwords.

Each writes its audit event in its own transaction, and what ends a session returns once every
replica knows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from cluster.errors import NotAuthenticated, NotPermitted
from cluster.settings import Settings
from serve_app.registry import logins, sessions, users
from serve_app.registry.changes import ChangeFollower
from serve_app.registry.database import Database, Session
from serve_app.registry.logins import Login
from serve_app.registry.sessions import RefreshGrant, Rotation
from serve_app.registry.users import Account
from serve_app.security.emails import check_email
from serve_app.security.lockout import Lockout
from serve_app.security.password_changes import PasswordChanges
from serve_app.security.password_check import PasswordCheck
from serve_app.security.passwords import Passwords, check_password
from serve_app.security.tokens import REFUSAL, Claims, Tokens
from serve_app.security.whereabouts import Whereabouts, note


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenPair:
    """What a login or a refresh hands out; the texts stay out of ``repr``."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    #: Seconds that the access token holds.
    expires_in_s: int


#: Runs in the transaction that makes an account, to store the answer with it.
OnCreated = Callable[[Session, Account], None]


class Accounts:
    """The use cases, over registry, passwords and tokens."""

    def __init__(
        self,
        *,
        settings: Settings,
        database: Database,
        follower: ChangeFollower,
        tokens: Tokens,
        passwords: Passwords,
        lockout: Lockout,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._database = database
        self._follower = follower
        self._tokens = tokens
        self._passwords = passwords
        self._checks = PasswordCheck(database, passwords, lockout)
        self.password_changes = PasswordChanges(
            database=database, follower=follower, passwords=passwords, checks=self._checks
        )
        self._now = now

    async def register(
        self,
        *,
        email: str,
        password: str,
        full_name: str | None,
        where: Whereabouts,
        on_created: OnCreated | None = None,
    ) -> Account:
        """
        A new account with the default role.

        Raises:
            NotPermitted: If registration is closed.
            InvalidInput: If address or password will not do.
            Conflict: If the address is taken.
        """
        if not self._settings.is_registration_open:
            raise NotPermitted("registration is closed: ask an administrator for an account")
        email = check_email(email)
        check_password(password)
        password_hash = await self._passwords.hash(password)

        def create(session: Session) -> Account:
            account = users.create_user(
                session,
                email=email,
                password_hash=password_hash,
                role=self._settings.effective_default_role,
                full_name=full_name,
            )
            note(session, "user.register", account, where)
            if on_created is not None:
                on_created(session, account)
            return account

        written = await self._database.write(create)
        await self._follower.settle(written.sequence)
        return written.value

    async def login(self, *, email: str, password: str, where: Whereabouts) -> TokenPair:
        """
        A new session.

        Raises:
            RateLimited: If this address or account has had too many attempts.
            NotAuthenticated: The same whether the account, or the password, or both are wrong.
        """
        login = await self._checks.check(email, password, where)

        def open_session(session: Session) -> RefreshGrant:
            grant = sessions.open_session(
                session,
                login.account.id,
                session_epoch=login.account.session_epoch,
                lifetime_s=self._tokens.refresh_lifetime_s,
                now=self._now(),
            )
            note(session, "session.open", login.account, where)
            return grant

        grant = (await self._database.write(open_session)).value
        if self._passwords.needs_rehash(login.password_hash):
            await self._rehash(login, password)
        return self._pair(grant)

    async def refresh(self, refresh_token: str, *, where: Whereabouts) -> TokenPair:
        """
        The session's next tokens; a repeat within the grace gets the same refresh token.

        Raises:
            NotAuthenticated: If the token does not hold; a reuse after the grace ends its session.
        """
        claims = self._tokens.verify(refresh_token, "refresh")

        def rotate(session: Session) -> Rotation:
            rotation = sessions.rotate(
                session,
                family_id=claims.session_id,
                token_id=claims.token_id,
                session_epoch=claims.session_epoch,
                lifetime_s=self._tokens.refresh_lifetime_s,
                now=self._now(),
            )
            if rotation.outcome == "reused":
                account = users.get_user(session, claims.user_id)
                note(session, "session.reuse", account, where)
            return rotation

        written = await self._database.write(rotate)
        await self._follower.settle(written.sequence)
        if written.value.grant is None:
            raise NotAuthenticated(REFUSAL, reason=f"refresh {written.value.outcome}")
        return self._pair(written.value.grant)

    async def logout(
        self, refresh_token: str, *, where: Whereabouts, is_everywhere: bool = False
    ) -> None:
        """
        End the token's session, or all of its user's; one that had ended stays so.

        Raises:
            NotAuthenticated: If the token is none of ours, or has expired.
        """
        claims = self._tokens.verify(refresh_token, "refresh")

        def end(session: Session) -> None:
            if not sessions.end_session(session, claims.session_id):
                return
            account = users.get_user(session, claims.user_id)
            note(session, "session.close", account, where)
            if is_everywhere:
                users.end_user_sessions(session, users.get_user_row(session, account.id))

        written = await self._database.write(end)
        await self._follower.settle(written.sequence)

    async def verify(self, email: str, password: str) -> Account | None:
        """The account whose password this is, without counting an attempt; else None."""
        return await self._checks.verify(email, password)

    async def _rehash(self, login: Login, password: str) -> None:
        renewed = await self._passwords.hash(password)
        await self._database.write(
            partial(
                logins.refresh_hash,
                user_id=login.account.id,
                old=login.password_hash,
                new=renewed,
            )
        )

    def _pair(self, grant: RefreshGrant) -> TokenPair:
        claims = Claims(
            user_id=grant.user_id,
            session_id=grant.family_id,
            session_epoch=grant.session_epoch,
            token_id=grant.token_id,
            expires_at_s=int(grant.expires_at.timestamp()),
        )
        return TokenPair(
            access_token=self._tokens.access(grant.user_id, grant.family_id, grant.session_epoch),
            refresh_token=self._tokens.refresh(claims),
            expires_in_s=self._tokens.access_lifetime_s,
        )
