"""Which scikit-learn versions' models are taken: this minor, and the one before with a warning."""

import re

import sklearn

from cluster.errors import UploadRefused
from deployments.intake.refusals import refusal

_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})(?:\.|$|rc|\.dev)")
_IN_FILE = re.compile(rb"_sklearn_version[^0-9]{1,16}(\d{1,2}\.\d{1,2}(?:\.\d{1,2})?)")
#: Classes whose answers a minor version changed, if only in their last bits: what an older one
#: fitted would not answer here as it did there.  ``tests/compatibility/table.py`` finds them.
_CHANGED_IN: dict[tuple[int, int], frozenset[str]] = {
    # Yeo-Johnson is computed by scipy.stats.yeojohnson since 1.9.
    (1, 9): frozenset({"sklearn.preprocessing._data.PowerTransformer"}),
}
_SCAN_BYTES = 64 * 1024 * 1024


def _minor(version: str) -> tuple[int, int] | None:
    found = _VERSION.match(version)
    return (int(found[1]), int(found[2])) if found else None


def is_same_minor(version: str) -> bool:
    """True where ``version`` differs from the installed scikit-learn by its patch at most."""
    return _minor(version) == _minor(sklearn.__version__)


def check_version(version: str, name: str) -> None:
    """
    Accept this minor version and the one before it, but for classes that changed since.

    Args:
        version: What the file says of the estimator.
        name: ``module.qualname`` of its class.

    Raises:
        UploadRefused: code ``sklearn_version``, naming both.
    """
    found, ours = _minor(version), _minor(sklearn.__version__)
    if found is None or ours is None or found[0] != ours[0]:
        raise other_version(version)
    if not ours[1] - 1 <= found[1] <= ours[1]:
        raise other_version(version)
    for changed_in, names in _CHANGED_IN.items():
        if found < changed_in <= ours and name in names:
            raise changed_class(version, name)


def changed_class(version: str, name: str) -> UploadRefused:
    """The refusal of a class that answers differently under the installed version."""
    ours = sklearn.__version__
    return refusal(
        f"gate2: the model holds a {name.rpartition('.')[2]} saved with scikit-learn "
        f"{version[:20]}, which answers differently under this server's {ours}: fit it again with "
        f"scikit-learn {'.'.join(ours.split('.')[:2])}",
        gate="gate2",
        reason="version",
        code="sklearn_version",
        name=name,
    )


def other_version(version: str) -> UploadRefused:
    """The refusal of a file from ``version``."""
    return refusal(
        f"gate2: the model was saved with scikit-learn {version[:20]}; this server has "
        f"{sklearn.__version__} and takes models of the same or the previous minor version: "
        f"fit it again with scikit-learn {'.'.join(sklearn.__version__.split('.')[:2])}",
        gate="gate2",
        reason="version",
        code="sklearn_version",
        name=f"scikit-learn {version[:20]}",
    )


def version_in(content: bytes) -> str | None:
    """The version that the bytes mention, found without reading them; for messages only."""
    found = _IN_FILE.search(content, 0, _SCAN_BYTES)
    return found[1].decode("ascii") if found else None


def warning_for(version: str) -> str:
    """What the owner of a model from another minor version is told."""
    return (
        f"the model was saved with scikit-learn {version} and is served with "
        f"{sklearn.__version__}: compare its predictions, or fit it again"
    )
