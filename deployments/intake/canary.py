"""
Gate 4: the model answers made-up rows, within its time; the answers are kept to compare later.

Extreme rows may make an honest model raise (an overflow in a scaler); then each row is tried by
itself, and a model that answers none is refused.
"""

import math
import time
from typing import Any

from cluster.contracts import Batch, JsonObject, Method, Signature
from cluster.errors import PredictionFailed, UploadRefused
from deployments.engines.loaded import LoadedModel
from deployments.intake.batches import batch_from_json, batch_to_json
from deployments.intake.examples import is_same
from deployments.signatures.answers import to_json

#: Processor time for the canary rows, over all methods.
MAX_CANARY_CPU_S = 5.0
#: Cells of the answer to one row: a hashing vectorizer by itself has 2**20, and no caller of a
#: JSON API has a use for more.
MAX_ROW_CELLS = 2**21
#: Cells of the answers to all canary rows by one method.
MAX_ANSWER_CELLS = 2 * MAX_ROW_CELLS
#: Cells of rows, and of answers, that are kept with the version.
MAX_KEPT_CELLS = 10_000
#: What stands for a row on which the model raised.
RAISED: JsonObject = {"raised": True}


def fitting_rows(signature: Signature, batch: Batch) -> Batch:
    """
    As many of the rows as have answers that fit into memory, at least one.

    Raises:
        UploadRefused: gate4: the answer to a single row is too wide to serve.
    """
    widest = max(
        (math.prod(abs(size) for size in spec.shape) for spec in signature.outputs.values()),
        default=1,
    )
    if widest > MAX_ROW_CELLS:
        raise _refused(
            f"the model answers one row with {widest} numbers, and {MAX_ROW_CELLS} are the most: "
            "fit it with fewer output features, or put the estimator behind it into the pipeline",
            "width",
        )
    return batch.take(0, min(batch.rows, max(1, MAX_ANSWER_CELLS // max(widest, 1))))


def run_canary(model: LoadedModel, signature: Signature, batch: Batch) -> JsonObject:
    """
    The rows and what each method answered to them, as JSON, cut to what is worth keeping.

    Raises:
        UploadRefused: gate4: too slow, or a method answers no row or of another shape.
    """
    started_s = time.process_time()
    answers: dict[str, list[Any]] = {}
    for method in signature.methods:
        answers[method] = [_kept(row) for row in _answers(model, method, batch)]
        if time.process_time() - started_s > MAX_CANARY_CPU_S:
            raise _refused(
                f"the model takes more than {MAX_CANARY_CPU_S:.0f} s of processor time for "
                f"{batch.rows} rows: upload a smaller or simpler model",
                "cpu",
            )
    kept = _rows_to_keep(signature, answers, batch)
    return {
        "batch": batch_to_json(batch.take(0, kept)),
        "answers": {method: rows[:kept] for method, rows in answers.items()},
    }


def compare_canary(model: LoadedModel, signature: Signature, recorded: JsonObject) -> None:
    """
    Return if the model still answers as it did when it was uploaded.

    Raises:
        UploadRefused: ``canary_mismatch``, naming the method and the row.
    """
    if not recorded:
        return
    batch = batch_from_json(recorded["batch"])
    for method, expected in recorded["answers"].items():
        if method not in signature.methods:
            raise _changed(f"the model has no method {method!r} any more")
        answered = _answers(model, method, batch)
        for row, (was, now) in enumerate(zip(expected, answered, strict=True)):
            if not is_same(was, _kept(now)) and was != _kept(now):
                raise _changed(f"{method} answers row {row} of the canary differently")


def _answers(model: LoadedModel, method: Method, batch: Batch) -> list[Any]:
    try:
        values, _ = model.run(method, batch)
    except PredictionFailed:
        return _answers_row_by_row(model, method, batch)
    if len(values) != batch.rows:
        raise _refused(f"{method} answers {len(values)} values for {batch.rows} rows", "shape")
    return to_json(values)[0]


def _answers_row_by_row(model: LoadedModel, method: Method, batch: Batch) -> list[Any]:
    answers: list[Any] = []
    failure: PredictionFailed | None = None
    for row in range(batch.rows):
        try:
            values, _ = model.run(method, batch.take(row, row + 1))
            answers += to_json(values)[0]
        except PredictionFailed as error:
            failure = error
            answers.append(RAISED)
    if failure is not None and all(answer is RAISED for answer in answers):
        raise _refused(
            f"the model fails on every row that {method} was tried with: check that it predicts "
            "after being loaded in a fresh session",
            "canary",
        ) from failure
    return answers


def _rows_to_keep(signature: Signature, answers: dict[str, list[Any]], batch: Batch) -> int:
    width = len(signature.features) + sum(_width(rows) for rows in answers.values())
    return max(1, min(batch.rows, MAX_KEPT_CELLS // max(width, 1)))


def _width(rows: list[Any]) -> int:
    return max((len(row) if isinstance(row, list) else 1 for row in rows), default=1)


def _kept(answer: Any) -> Any:
    """The answer to one row as it is recorded: of a very wide one, what is not zero in it."""
    if not isinstance(answer, list) or len(answer) <= MAX_KEPT_CELLS:
        return answer
    cells = [[column, value] for column, value in enumerate(answer) if value != 0]
    return [len(answer), *cells[:MAX_KEPT_CELLS]]


def _refused(sentence: str, reason: str) -> UploadRefused:
    return UploadRefused(f"gate4: {sentence}", gate="gate4", reason=reason)


def _changed(what: str) -> UploadRefused:
    return UploadRefused(
        f"under the libraries installed now {what}: fit the model again with them and upload it",
        gate="gate4",
        reason="canary_mismatch",
        code="canary_mismatch",
    )
