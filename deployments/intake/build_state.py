"""
Setting the state of an instance: our own ``__dict__`` update, never the class's ``__setstate__``.

A key that names a method, a property or anything with two leading underscores would change what
the instance does rather than what it knows, and is refused.
"""

from typing import TYPE_CHECKING, Any

from sklearn.model_selection import KFold, StratifiedKFold

from deployments.intake.refusals import refusal
from deployments.intake.tokens import ClassToken

if TYPE_CHECKING:
    from deployments.intake.globals import Grants

#: Classes that scikit-learn's repeated splitters keep as an attribute.
SPLITTERS = (KFold, StratifiedKFold)
#: scikit-learn writes its version into each estimator's state under this key.
VERSION_KEY = "_sklearn_version"


def fill(grants: "Grants", target: Any, state: Any) -> None:
    """
    Update ``target``'s attributes from ``state``, a plain dict with text keys.

    Raises:
        UploadRefused: gate2; reason "state_shape", "state_key", or ``sklearn_version``.
    """
    cls = type(target)
    name = f"{cls.__module__}.{cls.__qualname__}"
    if type(state) is tuple and not state and not hasattr(target, "__dict__"):
        return  # a compiled object that has no state and says so
    if type(state) is not dict or not hasattr(target, "__dict__"):
        raise refusal(
            f"gate2: the state of {name} is no plain dictionary of attributes: save the model "
            "with a plain pickle.dump or joblib.dump",
            gate="gate2",
            reason="state_shape",
            name=name,
        )
    for key in state:
        if type(key) is not str or key.startswith("__") or is_class_level(cls, key):
            raise refusal(
                f"gate2: the state of {name} sets {str(key)[:80]!r}, which belongs to the class: "
                "save the model from a session where no method was replaced",
                gate="gate2",
                reason="state_key",
                name=f"{name}.{str(key)[:80]}",
            )
    attributes = {key: _as_kept(value) for key, value in state.items()}
    version = attributes.pop(VERSION_KEY, None)
    if version is not None:
        grants.note_version(name, version)
    target.__dict__.update(attributes)


def _as_kept(value: Any) -> Any:
    """``value``, or the class itself where a splitter of splitters keeps one."""
    if type(value) is ClassToken and value.cls in SPLITTERS:
        return value.cls
    return value


def is_class_level(cls: type[Any], key: str) -> bool:
    """True where ``key`` is a method, property or other descriptor of ``cls``."""
    for base in cls.__mro__:
        if key in base.__dict__:
            found = base.__dict__[key]
            return callable(found) or hasattr(type(found), "__get__")
    return False
