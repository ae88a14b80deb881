"""
A lint rule of our own: stored or received bytes become objects in ``deployments/intake`` alone.

``pickle.load(s)``, ``pickle.Unpickler``, ``joblib.load``, ``numpy.load``, ``skops.io.load(s)``,
``cloudpickle.load(s)`` and their like are forbidden anywhere else in the product, under whatever
name they were imported.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cluster", "deployments", "serve_app")
ALLOWED = ROOT / "deployments" / "intake"
FORBIDDEN = frozenset(
    {
        "pickle.load",
        "pickle.loads",
        "pickle.Unpickler",
        "pickle._Unpickler",
        "_pickle.load",
        "_pickle.loads",
        "_pickle.Unpickler",
        "cloudpickle.load",
        "cloudpickle.loads",
        "ray.cloudpickle.load",
        "ray.cloudpickle.loads",
        "dill.load",
        "dill.loads",
        "marshal.load",
        "marshal.loads",
        "shelve.open",
        "joblib.load",
        "joblib.numpy_pickle.load",
        "numpy.load",
        "pandas.read_pickle",
        "skops.io.load",
        "skops.io.loads",
        "torch.load",
    }
)


def found(source: str) -> Iterator[tuple[int, str]]:
    """(line, full name) of each forbidden thing that ``source`` names."""
    tree = ast.parse(source)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Name)):
            full = _full_name(node, names)
            if full in FORBIDDEN:
                yield node.lineno, full


def _full_name(node: ast.expr, names: dict[str, str]) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([names.get(node.id, ""), *reversed(parts)])


@pytest.mark.parametrize("package", PACKAGES)
def test_only_the_intake_makes_objects_of_bytes(package: str) -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        if not path.is_relative_to(ALLOWED)
        for line, name in found(path.read_text(encoding="utf-8"))
    ]

    assert faults == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.loads(b'')",
        "import pickle as p\np.load(f)",
        "from pickle import loads\nloads(b'')",
        "from pickle import loads as read\nread(b'')",
        "import joblib\nmodel = joblib.load(path)",
        "import numpy as np\nnp.load(path)",
        "import skops.io\nskops.io.loads(b'')",
        "from skops import io as sio\nsio.load(f)",
        "import skops.io as sio\nsio.loads(b'')",
        "import cloudpickle\nreader = cloudpickle.loads",
        "from ray import cloudpickle\ncloudpickle.loads(b'')",
        "import pickle\nclass Mine(pickle.Unpickler): ...",
    ],
)
def test_rule_sees_each_spelling(source: str) -> None:
    assert list(found(source))


@pytest.mark.parametrize(
    "source",
    ["import json\njson.loads('{}')", "import pickle\npickle.dumps(1)", "import yaml\nyaml.load"],
)
def test_rule_leaves_others_alone(source: str) -> None:
    assert list(found(source)) == []
