"""Runs the rows that an owner sent along, and compares the answers with what they expect."""

import math
from typing import Any

from cluster.contracts import Examples, Signature
from cluster.errors import Fault, InvalidInput, PredictionFailed, UploadRefused
from deployments.engines.loaded import LoadedModel
from deployments.signatures.answers import to_json
from deployments.signatures.instances import decode_instances

MAX_EXAMPLE_ROWS = 100
#: Between two machines the last bits of a float may differ; labels may not.
RELATIVE_TOLERANCE = 1e-9
_SHOWN_CHARACTERS = 200


def check_examples(model: LoadedModel, signature: Signature, examples: Examples) -> None:
    """
    Return if the model takes the rows and answers as expected.

    Raises:
        InvalidInput: The rows do not fit the model's signature, or it lacks the method.
        UploadRefused: ``example_mismatch`` with the row, what was expected and what it answers.
    """
    if examples.method not in signature.methods:
        message = f"the model has no method {examples.method!r}, only {_listed(signature)}"
        fault = Fault(path="/examples/method", code="unknown_method", message=message)
        raise InvalidInput(message, details=(fault,))
    batch = decode_instances(
        signature, examples.instances, max_rows=MAX_EXAMPLE_ROWS, path="/examples/instances"
    )
    try:
        values, _ = model.run(examples.method, batch)
    except PredictionFailed as error:
        raise _mismatch("the model fails on the examples' instances", row=None) from error
    if examples.predictions is not None:
        _compare(examples.predictions, to_json(values)[0])


def is_same(expected: Any, got: Any, *, tolerance: float = RELATIVE_TOLERANCE) -> bool:
    """Whether two JSON answers agree: floats to ``tolerance``, everything else exactly."""
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(
            is_same(a, b, tolerance=tolerance) for a, b in zip(expected, got, strict=True)
        )
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(expected, (int, float)) and isinstance(got, (int, float)):
        return math.isclose(expected, got, rel_tol=tolerance, abs_tol=tolerance)
    return type(expected) is type(got) and bool(expected == got)


def _compare(expected: list[Any], got: list[Any]) -> None:
    if len(expected) != len(got):
        raise _mismatch(
            f"examples name {len(expected)} predictions for {len(got)} instances", row=None
        )
    for row, (wanted, answered) in enumerate(zip(expected, got, strict=True)):
        if not is_same(wanted, answered):
            raise _mismatch(
                f"example row {row}: expected {_shown(wanted)}, the model answers "
                f"{_shown(answered)}",
                row=row,
            )


def _mismatch(what: str, *, row: int | None) -> UploadRefused:
    path = "/examples/predictions" if row is None else f"/examples/predictions/{row}"
    fault = Fault(path=path, code="example_mismatch", message=what)
    return UploadRefused(
        f"{what}: correct the examples, or upload the model that they were made with",
        gate="gate4",
        reason="example_mismatch",
        code="example_mismatch",
        details=(fault,),
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _listed(signature: Signature) -> str:
    return ", ".join(signature.methods)
