"""
What a verdict holds for: the versions of the libraries, of our own gates, and the operator's list.

A change in any of them makes the Loader vet again before it releases bytes.
"""

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

_PACKAGES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "joblib": "joblib",
    "skops": "skops",
    "pandas": "pandas",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
}
#: Sources and data that decide on a file; the digest over them is the loader's version.
_GATES = ("intake", "engines", "signatures")


@cache
def library_versions(extra_names: frozenset[str]) -> dict[str, str]:
    """Name to version; ``loader`` is a digest of our gates, ``extra_names`` of the list."""
    versions = {name: version(package) for name, package in _PACKAGES.items()}
    versions["python"] = platform.python_version()
    versions["loader"] = _digest_of_gates()
    if extra_names:
        versions["extra_names"] = _digest("\n".join(sorted(extra_names)).encode())
    return versions


def verdict_key(extra_names: frozenset[str]) -> str:
    """One short text that is equal exactly where ``library_versions`` are."""
    versions = library_versions(extra_names)
    return _digest("\n".join(f"{name}={versions[name]}" for name in sorted(versions)).encode())


@cache
def _digest_of_gates() -> str:
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for package in _GATES:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in (".py", ".json"):
                digest.update(f"{path.relative_to(root)}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
