"""What SQLAlchemy and psycopg2 raise, translated once into our errors."""

from sqlalchemy import exc

from cluster.errors import Conflict, InvalidInput, PlatformError, RegistryUnavailable

#: SQLSTATE classes after which the connection, not the statement, is at fault.
_CONNECTION_STATES = ("08", "57P")
#: Undefined table, column or function: the schema is not this release's.
_SCHEMA_STATES = frozenset({"42P01", "42703", "42883", "3F000"})
#: The server takes no writes: a standby after a failover.
_READ_ONLY_STATE = "25006"
RETRY_AFTER_S = 2.0
SCHEMA_SENTENCE = "the registry's schema is not the one this release needs: run `slipway migrate`"


def is_connection_failure(error: BaseException) -> bool:
    """True where PostgreSQL could not be reached or ended the connection."""
    if not isinstance(error, (exc.OperationalError, exc.InterfaceError)):
        return False
    state = _state(error)
    return error.connection_invalidated or state is None or state.startswith(_CONNECTION_STATES)


def translate(error: Exception) -> PlatformError | None:
    """Our error for one of the driver's; ``None`` for what is not the database's doing."""
    if isinstance(error, exc.TimeoutError):
        return unavailable("the registry is busy: try again", reason="pool")
    if isinstance(error, (exc.OperationalError, exc.InterfaceError)):
        return unavailable(
            "the registry cannot be reached now: try again", reason=_state(error) or "connection"
        )
    if isinstance(error, exc.IntegrityError):
        return Conflict(
            "the request contradicts what was stored meanwhile: read it again, then retry",
            reason=_state(error),
        )
    if isinstance(error, exc.DataError):
        return InvalidInput("a value cannot be stored: it is out of range or holds a NUL character")
    if isinstance(error, exc.DBAPIError):
        return _translate_state(_state(error))
    if isinstance(error, ValueError) and _is_text_fault(error):
        return InvalidInput("text must not hold NUL characters or lone surrogates")
    return None


def describe(error: Exception) -> str:
    """One line for the log: no statement and no value, which may be a secret or an address."""
    if isinstance(error, exc.DBAPIError):
        first_line = str(error.orig).partition("\n")[0]
        return f"{type(error).__name__} {_state(error) or ''} {first_line}"
    return type(error).__name__


def unavailable(sentence: str, *, reason: str) -> RegistryUnavailable:
    """The 503 of a registry that is away or too slow."""
    return RegistryUnavailable(sentence, retry_after_s=RETRY_AFTER_S, reason=reason)


def _translate_state(state: str | None) -> PlatformError | None:
    if state in _SCHEMA_STATES:
        return unavailable(SCHEMA_SENTENCE, reason="schema")
    if state == _READ_ONLY_STATE:
        return unavailable("the registry takes no writes now: try again", reason="read_only")
    return None


def _state(error: exc.DBAPIError) -> str | None:
    state = getattr(error.orig, "pgcode", None)
    return state if isinstance(state, str) else None


def _is_text_fault(error: ValueError) -> bool:
    # psycopg2 refuses these before any statement is sent, as a bare ValueError.
    return isinstance(error, UnicodeEncodeError) or "NUL (0x00)" in str(error)
