"""A setting that nothing reads is a promise to an operator that no line keeps."""

import ast
from collections.abc import Iterator
from pathlib import Path

from cluster.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def _reads(source: str) -> Iterator[str]:
    """Names taken from whatever is called settings: ``settings.x``, ``self._settings.x``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            if name.lstrip("_") == "settings":
                yield node.attr


def _derived() -> Iterator[str]:
    """What the properties of ``Settings`` read, since others read the property."""
    tree = ast.parse((ROOT / "cluster" / "settings.py").read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and any(
            isinstance(decorator, ast.Name) and decorator.id == "property"
            for decorator in function.decorator_list
        ):
            for node in ast.walk(function):
                if (
                    isinstance(node, ast.Attribute)
                    and isinstance(node.value, ast.Name)
                    and node.value.id == "self"
                ):
                    yield node.attr


def test_every_setting_is_read_by_shipped_code() -> None:
    read = set(_derived())
    for package in ("cluster", "deployments", "serve_app"):
        for module in (ROOT / package).rglob("*.py"):
            read.update(_reads(module.read_text(encoding="utf-8")))

    assert set(Settings.model_fields) - read == set()
