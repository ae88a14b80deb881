"""The argument checks that all constructors share, and their one way to refuse."""

from typing import Any

from deployments.intake.refusals import refusal


def wrong(name: str, what: str, *, reason: str = "arguments") -> Exception:
    """The refusal of a call of ``name`` whose arguments or state are not what it takes."""
    return refusal(
        f"gate2: {name}: {what}: the file is damaged or was not written by scikit-learn's own "
        "save, save the model again",
        gate="gate2",
        reason=reason,
        name=name,
    )


def is_count(value: Any, *, at_most: int = 1 << 40) -> bool:
    """True for an exact int from 0 to ``at_most``."""
    return type(value) is int and 0 <= value <= at_most


def is_number(value: Any) -> bool:
    """True for an exact int or float (bool is neither)."""
    return type(value) is int or type(value) is float


def need_arguments(
    name: str, args: tuple[Any, ...], *kinds: type[Any] | tuple[type[Any], ...]
) -> None:
    """Refuse unless ``args`` are as many as ``kinds`` and each exactly of its kind."""
    if len(args) != len(kinds):
        raise wrong(name, f"takes {len(kinds)} arguments, not {len(args)}")
    for value, kind in zip(args, kinds, strict=True):
        allowed = kind if isinstance(kind, tuple) else (kind,)
        if type(value) not in allowed:
            raise wrong(name, f"an argument is a {type(value).__name__}")
