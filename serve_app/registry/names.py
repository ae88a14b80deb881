"""Names that callers choose: models and aliases, and how a path tells a name from an id."""

import re
import uuid

from cluster.errors import InvalidInput

NAME_PATTERN = r"[a-z0-9][a-z0-9._-]{0,63}"
_NAME = re.compile(NAME_PATTERN)
_NUMBER = re.compile("[0-9]{1,10}")
_MAX_SHOWN = 64
#: What an unversioned call uses.
PRODUCTION = "production"
#: The largest number a version can have; PostgreSQL's integer.
MAX_VERSION = 2**31 - 1


def check_model_name(name: str) -> str:
    """
    The name, if it may be given to a model.

    Raises:
        InvalidInput: If it has other characters, is too long, or could be taken for an id.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidInput(
            f"{shown(name)} is not a model name: use 1 to 64 of a-z, 0-9, '.', '_' and '-', first"
            " a letter or digit",
            name=name[:100],
        )
    if find_id(name) is not None:
        raise InvalidInput(f"{name!r} reads as an id: choose a name", name=name)
    return name


def check_alias(alias: str) -> str:
    """
    The alias, if it may be given to a version; never all digits, which are version numbers.

    Raises:
        InvalidInput: If it has other characters, is too long or is a number.
    """
    if _NAME.fullmatch(alias) is None or alias.isdigit():
        raise InvalidInput(
            f"{shown(alias)} is not an alias: use 1 to 64 of a-z, 0-9, '.', '_' and '-', first a"
            " letter or digit, not digits alone",
            alias=alias[:100],
        )
    return alias


def is_name(text: str) -> bool:
    """Whether anything may be stored under this name; others need no look-up."""
    return _NAME.fullmatch(text) is not None


def find_id(text: str) -> uuid.UUID | None:
    """The id that ``text`` spells (hyphens and case as uuid reads them), or ``None``."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def find_version_number(version: str | int) -> int | None:
    """The number that ``version`` spells, or ``None`` for an alias."""
    if isinstance(version, int):
        return version
    return int(version) if _NUMBER.fullmatch(version) else None


def shown(text: str) -> str:
    """What a caller wrote, quoted and cut to a length that fits a sentence."""
    return repr(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…")
