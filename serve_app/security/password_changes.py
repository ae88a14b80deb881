"""Other passwords: chosen by the owner, or given by an administrator; both end every session."""

from functools import partial

from serve_app.registry import logins, users
from serve_app.registry.changes import ChangeFollower
from serve_app.registry.database import Database, Session
from serve_app.registry.users import Account
from serve_app.security.password_check import PasswordCheck
from serve_app.security.passwords import Passwords, check_password
from serve_app.security.principals import Principal
from serve_app.security.whereabouts import Whereabouts, note


class PasswordChanges:
    """The use cases that set a password."""

    def __init__(
        self,
        *,
        database: Database,
        follower: ChangeFollower,
        passwords: Passwords,
        checks: PasswordCheck,
    ) -> None:
        self._database = database
        self._follower = follower
        self._passwords = passwords
        self._checks = checks

    async def change(
        self, principal: Principal, *, current: str, new: str, where: Whereabouts
    ) -> None:
        """
        Give the caller another password; every session ends, the present one too.

        Raises:
            NotPermitted: If the caller is an API key.
            InvalidInput: If the new password will not do.
            NotAuthenticated: If the present one is wrong.
        """
        principal.require_session()
        check_password(new)
        await self._checks.check(principal.email, current, where)
        await self._set_password(principal.user_id, new, "user.password", principal, where)

    async def reset(
        self, admin: Principal, user_id: str, new: str, *, where: Whereabouts
    ) -> Account:
        """
        Give another user's account another password, which ends its sessions.

        Raises:
            InvalidInput: If the password will not do.
            NotFound: If there is no such user.
        """
        check_password(new)
        await self._database.read(partial(users.get_user, user_id=user_id))
        return await self._set_password(user_id, new, "user.password_reset", admin, where)

    async def _set_password(
        self, user_id: str, new: str, action: str, actor: Principal, where: Whereabouts
    ) -> Account:
        password_hash = await self._passwords.hash(new)

        def change(session: Session) -> Account:
            account = logins.set_password(session, user_id, password_hash)
            note(session, action, account, where, actor=actor)
            return account

        written = await self._database.write(change)
        await self._follower.settle(written.sequence)
        return written.value
