"""
Gates 1 to 3 in one call: bytes in, a checked estimator out; no file, no socket, no other state.

The vetting child and the Predictor build models through here and nowhere else, so what was
vetted is what is served.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sklearn.ensemble._gb import BaseGradientBoosting

from cluster.contracts import ArtifactFormat
from cluster.errors import UploadRefused
from deployments.intake.budgets import Budget
from deployments.intake.decompress import inflate
from deployments.intake.globals import Grants
from deployments.intake.limits import Limits
from deployments.intake.neutralise import neutralise
from deployments.intake.refusals import refusal
from deployments.intake.roots import check_root, unwrap
from deployments.intake.skops_reader import load_skops
from deployments.intake.unpickler import load
from deployments.intake.validators.boosting import check_start
from deployments.intake.validators.graph import instances
from deployments.intake.validators.natives import check_instance
from deployments.intake.versions import is_same_minor, other_version, version_in, warning_for

T = TypeVar("T")
#: Reasons that a file of another scikit-learn version runs into; then that is the better answer.
_OF_ANOTHER_VERSION = frozenset({"global", "array", "tree", "native", "object", "state_key"})

#: Beginnings of names that are scikit-learn's; its losses called their module ``_loss`` up to 1.5.
_LIBRARY_NAMES = ("sklearn.", "numpy.", "_loss.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """An estimator that passed gates 1 to 3, and what its owner should know."""

    estimator: Any
    #: scikit-learn versions that the file names; empty for ONNX.
    versions: tuple[str, ...] = ()
    #: Sentences for the 201: another minor version, parameters set back, a search unwrapped.
    notes: tuple[str, ...] = ()


def read_model(
    content: bytes,
    format: ArtifactFormat,  # noqa: A002 - the contract's word
    *,
    limits: Limits | None = None,
    extra_names: frozenset[str] = frozenset(),
) -> object:
    """
    The estimator in ``content``; a search comes back as its ``best_estimator_``.

    Raises:
        UploadRefused: With gate, reason, name and advice; nothing else but MemoryError is raised.
    """
    return read_model_with_notes(content, format, limits=limits, extra_names=extra_names).estimator


def read_model_with_notes(
    content: bytes,
    format: ArtifactFormat,  # noqa: A002 - the contract's word
    *,
    limits: Limits | None = None,
    extra_names: frozenset[str] = frozenset(),
) -> Reading:
    """As ``read_model``, with the versions found and the notes for the owner."""
    reading = construct(content, format, limits=limits, extra_names=extra_names)
    estimator, was_search = _guarded(lambda: unwrap(reading.estimator), "gate3")
    if format != "onnx":
        _guarded(lambda: check_root(estimator), "gate3")
    notes = list(reading.notes)
    if was_search:
        notes.append("the search is served as its best_estimator_")
    return Reading(estimator=estimator, versions=reading.versions, notes=tuple(notes))


def construct(
    content: bytes,
    format: ArtifactFormat,  # noqa: A002 - the contract's word
    *,
    limits: Limits | None = None,
    extra_names: frozenset[str] = frozenset(),
) -> Reading:
    """Whatever object is in ``content``, checked and quietened, servable or not."""
    bounds = limits or Limits()
    if format == "onnx":
        return Reading(estimator=_guarded(lambda: _read_onnx(content, bounds), "gate2"))
    grants = Grants(extra_names)
    try:
        root = _guarded(lambda: _load(content, format, grants, bounds), "gate2")
        changed = _guarded(lambda: _check(root, grants, bounds), "gate3")
    except UploadRefused as error:
        raise _better(error, content, format) from error
    return Reading(estimator=root, versions=tuple(grants.versions), notes=_notes(grants, changed))


def _read_onnx(content: bytes, limits: Limits) -> Any:
    # Heavy and rare, so imported late; a sandbox that cannot open files has preloaded it.
    from deployments.intake.onnx_reader import read_onnx

    return read_onnx(content, limits)


def _load(content: bytes, format_: ArtifactFormat, grants: Grants, limits: Limits) -> Any:
    budget = Budget(limits=limits)
    if format_ == "skops":
        return load_skops(content, grants, budget)
    return load(inflate(content, limits), grants, budget)


def _check(root: Any, grants: Grants, limits: Limits) -> list[str]:
    found = instances(root, grants, limits)
    for instance in found:
        check_instance(instance)
    changed = neutralise(found)
    for instance in found:
        if isinstance(instance, BaseGradientBoosting):
            check_start(instance)
    return changed


def _guarded(work: Callable[[], T], gate: str) -> T:
    """``work()``, with anything a malformed file provokes turned into a refusal (ASVS 16.5.3)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return work()
    except (UploadRefused, MemoryError):
        raise  # too little memory is the sandbox's to name, or a Predictor's passing trouble
    except Exception as error:
        raise refusal(
            f"{gate}: the file is damaged or was not written by a normal save "
            f"({type(error).__name__}): save the model again",
            gate=gate,
            reason="malformed",
        ) from error


def _better(error: UploadRefused, content: bytes, format_: ArtifactFormat) -> UploadRefused:
    """The version refusal, where a scikit-learn name failed in a file of another minor version."""
    name = str(error.context.get("name", ""))
    from_library = not name or name.startswith(_LIBRARY_NAMES)
    if error.context.get("reason") not in _OF_ANOTHER_VERSION or not from_library:
        return error
    version = version_in(_plain(content, format_))
    if version is None or is_same_minor(version):
        return error
    return other_version(version)


def _plain(content: bytes, format_: ArtifactFormat) -> bytes:
    if format_ != "joblib":
        return content
    try:
        return inflate(content, Limits())
    except UploadRefused:
        return content


def _notes(grants: Grants, changed: list[str]) -> tuple[str, ...]:
    notes = [warning_for(version) for version in grants.versions if not is_same_minor(version)]
    if changed:
        notes.append(f"served with the quiet values of {', '.join(changed)}")
    return tuple(notes)
