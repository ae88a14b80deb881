"""Every error survives what carries it: pickle, and the class that Ray derives from it."""

import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.exceptions import RayTaskError

from cluster.errors import Fault, InvalidInput, PlatformError, RateLimited
from serve_app.api.errors import status_of

README = Path(__file__).parents[3] / "README.md"


def every_error(root: type[PlatformError] = PlatformError) -> Iterator[type[PlatformError]]:
    yield root
    for cls in root.__subclasses__():
        yield from every_error(cls)


ERRORS = sorted(set(every_error()), key=lambda cls: cls.__name__)
#: The launcher's own, which end a command and never a request, are defined beside it.
HTTP_ERRORS = [
    cls for cls in ERRORS if cls.__module__ in {"cluster.errors", "cluster.request_errors"}
]


@pytest.mark.parametrize("cls", ERRORS)
def test_it_survives_pickle_with_message_and_context(cls: type[PlatformError]) -> None:
    error = pickle.loads(pickle.dumps(cls("a sentence", model="iris", retry_after_s=3)))

    assert type(error) is cls
    assert error.message == "a sentence"
    assert error.context == {"model": "iris", "retry_after_s": 3}


@pytest.mark.parametrize("cls", ERRORS)
def test_it_survives_the_class_that_ray_derives(cls: type[PlatformError]) -> None:
    raised = RayTaskError("predict", "a long traceback", cls("a sentence", model="iris"))

    dual = pickle.loads(pickle.dumps(raised)).as_instanceof_cause()

    assert isinstance(dual, cls)
    cause = getattr(dual, "cause", None)
    assert isinstance(cause, cls)
    assert cause.message == "a sentence"
    assert cause.context == {"model": "iris"}


@pytest.mark.parametrize("cls", HTTP_ERRORS)
def test_the_readme_names_its_code_and_status(cls: type[PlatformError]) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) ", README.read_text(), re.MULTILINE)

    assert (cls.code, str(status_of(cls("x")))) in rows


def test_no_two_errors_share_a_code() -> None:
    codes = [cls.code for cls in ERRORS]

    assert len(set(codes)) == len(codes)


def test_no_subclass_defines_a_constructor() -> None:
    assert [cls for cls in ERRORS if cls is not PlatformError and "__init__" in vars(cls)] == []


def test_details_are_bounded_and_json() -> None:
    faults = [Fault(path=f"/instances/{n}", code="type", message="no number") for n in range(30)]

    error = InvalidInput("30 fields are wrong", details=faults)

    assert len(error.details) == 20
    assert error.details[0] == {"path": "/instances/0", "code": "type", "message": "no number"}


def test_a_finer_code_in_the_context_is_the_public_one() -> None:
    assert InvalidInput("x", code="example_mismatch").public_code == "example_mismatch"
    assert RateLimited("x").public_code == "rate_limited"
