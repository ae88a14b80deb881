"""Checks a password against an account: counted, and the same for every way to be wrong."""

import logging
from functools import partial

from cluster.errors import NotAuthenticated
from serve_app.registry import logins
from serve_app.registry.database import Database
from serve_app.registry.logins import Login
from serve_app.registry.users import Account
from serve_app.security.lockout import Lockout
from serve_app.security.passwords import Passwords
from serve_app.security.whereabouts import Whereabouts

log = logging.getLogger(__name__)
LOGIN_REFUSAL = "e-mail address or password is wrong"


class PasswordCheck:
    """Passwords of accounts, behind the lockout."""

    def __init__(self, database: Database, passwords: Passwords, lockout: Lockout) -> None:
        self._database = database
        self._passwords = passwords
        self._lockout = lockout

    async def verify(self, email: str, password: str) -> Account | None:
        """The account whose password this is, without counting an attempt; else None."""
        login = await self._database.read(partial(logins.find_login, email=email.lower()))
        is_right = await self._passwords.verify(login.password_hash if login else None, password)
        return login.account if login is not None and is_right else None

    async def check(self, email: str, password: str, where: Whereabouts) -> Login:
        """
        The active account with this password.

        Raises:
            RateLimited: If this address or account has had too many attempts.
            NotAuthenticated: The same whether the account, or the password, or both are wrong.
        """
        attempt = await self._lockout.attempt(where.address, email)
        login = await self._database.read(partial(logins.find_login, email=email.lower()))
        is_right = await self._passwords.verify(login.password_hash if login else None, password)
        if login is None or not is_right or not login.account.is_active:
            log.info("a login failed", extra={"address": where.address})
            raise NotAuthenticated(LOGIN_REFUSAL, reason="login")
        await self._lockout.succeeded(attempt)
        return login
