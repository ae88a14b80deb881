"""The committed list of names is what the installed libraries give; a difference is for review."""

import json
import re

import pytest

from deployments.intake import reviewed
from deployments.intake.derive_globals import TARGET, as_json, check, derive
from deployments.intake.globals import derived_kinds


@pytest.mark.filterwarnings("ignore")
def test_committed_names_are_those_of_the_installed_libraries() -> None:
    assert as_json(derive())["names"] == json.loads(TARGET.read_text(encoding="utf-8"))["names"]


def test_no_name_is_dotted_or_forbidden() -> None:
    for module, name in derived_kinds():
        assert re.fullmatch(r"\w+", name)
        assert (module, name) == ("joblib.numpy_pickle", "NumpyArrayWrapper") or (
            not reviewed.is_forbidden(module, name)
        )


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("builtins", "eval"), ("scipy.stats._distn_infrastructure", "rv_frozen")],
)
def test_forbidden_name_stops_the_derivation(module: str, name: str) -> None:
    with pytest.raises(ValueError, match="never allowed"):
        check({(module, name): "REF"})


def test_constructor_without_a_check_stops_the_derivation() -> None:
    with pytest.raises(ValueError, match="without a check"):
        check({("sklearn.new", "make"): "CTOR"})
