"""Every code that an answer may carry is in the README, finer ones with their status too."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import errors, request_errors
from serve_app.api.errors import status_of

ROOT = Path(__file__).resolve().parents[2]
#: What makes an error of a class without being it.
MAKERS = {"refusal": errors.UploadRefused}
ROWS = set(
    re.findall(r"^\| `(\w+)` \| (\d{3}) ", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
)


def finer_codes(source: str) -> Iterator[tuple[str, str]]:
    """(code, status) of each error that is made with a literal ``code="…"``."""
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call):
            given = {each.arg: each.value for each in call.keywords if each.arg}
            if "code" in given and (status := _status(call, given)):
                yield from ((code, status) for code in _literals(given["code"]))


def _literals(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.IfExp):
        yield from _literals(value.body)
        yield from _literals(value.orelse)
    elif isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value


def _status(call: ast.Call, given: dict[str, ast.expr]) -> str:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    if name == "EdgeError":
        return ast.unparse(given["status"])
    cls = MAKERS.get(name) or (vars(errors) | vars(request_errors)).get(name)
    if isinstance(cls, type) and issubclass(cls, errors.PlatformError):
        return str(status_of(cls("x")))
    return ""


def _shipped() -> set[tuple[str, str]]:
    return {
        found
        for package in ("cluster", "deployments", "serve_app")
        for module in (ROOT / package).rglob("*.py")
        for found in finer_codes(module.read_text(encoding="utf-8"))
    }


def test_the_readme_lists_every_finer_code_with_its_status() -> None:
    assert _shipped() - ROWS == set()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('Conflict("sentence", code="taken")', ("taken", "409")),
        ('errors.InvalidInput("sentence", code="odd")', ("odd", "422")),
        ('refusal("sentence", gate="gate2", code="old")', ("old", "422")),
        ('EdgeError(status=408, code="slow")', ("slow", "408")),
        ('Conflict("sentence", code="a" if b else other)', ("a", "409")),
    ],
)
def test_each_spelling_is_seen(source: str, expected: tuple[str, str]) -> None:
    assert list(finer_codes(source)) == [expected]


@pytest.mark.parametrize("source", ['Fault(path="", code="x")', 'Conflict("sentence", code=code)'])
def test_details_and_what_is_passed_on_are_left_alone(source: str) -> None:
    assert list(finer_codes(source)) == []
