"""serve_app → deployments → cluster, never back; and each library in its own rooms."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: What each package may import of ours.
MAY_SEE = {
    "cluster": {"cluster"},
    "deployments": {"deployments", "cluster"},
    "serve_app": {"serve_app", "deployments", "cluster"},
}
#: Library -> the only modules (or folders) that may import it.
ROOMS = {
    "sqlalchemy": ("serve_app/registry/",),
    "alembic": ("serve_app/registry/",),
    "psycopg2": ("serve_app/registry/", "cluster/embedded_postgres.py"),
    "redis": ("serve_app/cache.py", "serve_app/security/valkey_scripts.py"),
    "ray": (
        "serve_app/main.py",
        "serve_app/ingress.py",
        "deployments/handles.py",
        "deployments/predictor.py",
        "deployments/loader.py",
        "deployments/store_reach.py",
        "deployments/router.py",
        "cluster/metrics.py",
        "cluster/launch",
    ),
    "obstore": ("cluster/artifacts_s3.py", "cluster/backup/destination_s3.py"),
    "onnxruntime": ("deployments/engines/", "deployments/intake/"),
    "skops": ("deployments/intake/", "serve_app/cli/demonstration.py"),
    "fastapi": ("serve_app/",),
    "starlette": ("serve_app/",),
}
#: The type of the transaction that the registry hands to ``Database.read`` and ``write``.
TRANSACTION = "sqlalchemy.orm.Session"
MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in MAY_SEE
    for path in (ROOT / package).rglob("*.py")
    if "/migrations/" not in path.as_posix()
)


def _imports(module: str) -> Iterator[str]:
    """Dotted names that the module imports anywhere, lazily too."""
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "(relative)"


def _is_allowed(module: str, name: str) -> bool:
    package, top = module.split("/", maxsplit=1)[0], name.split(".", maxsplit=1)[0]
    if top in MAY_SEE:
        return top in MAY_SEE[package]
    if name == TRANSACTION and package == "serve_app":
        return True
    return name != "(relative)" and (top not in ROOMS or module.startswith(ROOMS[top]))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_place_allows(module: str) -> None:
    wrong = [name for name in _imports(module) if not _is_allowed(module, name)]

    assert wrong == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / package) for package in MAY_SEE), ids=lambda path: path.name
)
def test_packages_have_empty_init_files(path: Path) -> None:
    full = [
        init.relative_to(ROOT).as_posix()
        for init in path.rglob("__init__.py")
        if init.read_text(encoding="utf-8").strip()
    ]

    assert full == []
