import math
import subprocess
import sys
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.contracts import Batch, Bounds, Feature
from cluster.errors import InvalidInput
from deployments.signatures.instances import decode_instances
from tests.unit.deployments.signatures.signatures import (
    frame_signature,
    matrix_signature,
    text_signature,
)

MATRIX = matrix_signature(3)
NULLABLE = matrix_signature(3, nullable=True)
FRAME = frame_signature(
    Feature(name="age", type="number", nullable=True),
    Feature(name="city", type="string", nullable=False, dtype="str"),
    Feature(name="a/b~c", type="integer", nullable=False, dtype="int64"),
)


def refusal(signature: Any, instances: Any, **options: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        decode_instances(signature, instances, max_rows=options.pop("max_rows", 100), **options)
    return refused.value


def faults(error: InvalidInput) -> list[tuple[str, str]]:
    return [(detail["path"], detail["code"]) for detail in error.details]


def matrix(batch: Batch) -> list[list[float]]:
    assert batch.matrix is not None
    assert batch.matrix.dtype == np.float64
    assert batch.matrix.flags.c_contiguous
    return batch.matrix.tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "instances",
    [
        [[1.5, 2, True]],  # one row, the commonest request
        [[1.5, 2, True], [4, 5.0, False]],
        [{"x0": 1.5, "x1": 2, "x2": 1}],
        [{"x2": 1, "x0": 1.5, "x1": 2}, {"x1": 5, "x2": 0, "x0": 4}],  # any column order
    ],
)
def test_lists_and_records_of_numbers_become_one_matrix(instances: Any) -> None:
    batch = decode_instances(MATRIX, instances, max_rows=100)

    assert matrix(batch) == [[1.5, 2.0, 1.0], [4.0, 5.0, 0.0]][: len(instances)]
    assert batch.rows == len(instances)


def test_a_null_in_a_matrix_is_nan_where_missing_values_are_taken() -> None:
    (row,) = matrix(decode_instances(NULLABLE, [[1, None, 3]], max_rows=1))

    assert math.isnan(row[1])
    assert faults(refusal(MATRIX, [[1, None, 3]])) == [("/instances/0/1", "null_refused")]


def test_a_frame_gives_each_column_its_own_array() -> None:
    rows = [[None, "Bern", 3.0], [4, "Basel", 5]]
    batch = decode_instances(FRAME, rows, max_rows=2)

    assert batch.columns is not None
    assert [str(column.dtype) for column in batch.columns] == ["float64", "object", "int64"]
    assert [column.tolist()[1] for column in batch.columns] == [4.0, "Basel", 5]


@pytest.mark.parametrize("instances", [["a", "b"], [["a"], ["b"]], [{"text": "a"}, {"text": "b"}]])
def test_documents_come_in_three_forms(instances: Any) -> None:
    batch = decode_instances(text_signature(), instances, max_rows=2)

    assert batch.columns is not None
    assert batch.columns[0].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("instances", "path"),
    [
        ([5], "/instances/0"),
        ([["a", "b"]], "/instances/0"),
        ([[5]], "/instances/0/0"),
        (["a", 5], "/instances/1"),
        (["a", ["b"]], "/instances/1"),
        ([None], "/instances/0"),
    ],
)
def test_what_is_no_document_is_refused(instances: Any, path: str) -> None:
    assert refusal(text_signature(), instances).details[0]["path"] == path


@pytest.mark.parametrize(
    ("instances", "code", "said"),
    [
        ([1.0, 2.0, 3.0], "flat_row", "wrap it in another list"),
        ([], "no_rows", "at least one"),
        ("x", "not_a_list", "must be a list"),
        (None, "not_a_list", "null"),
        ({"x0": 1}, "not_a_list", "an object"),
        ([[1, 2, 3]] * 5, "too_many_rows", "at most 4"),
        ([[1, 2]], "wrong_count", "has 2 values, the model takes 3"),
        ([[1, 2, 3, 4]], "wrong_count", "has 4 values, the model takes 3"),
        ([[]], "wrong_count", "has 0 values"),
        ([[1, 2, 3], 5], "wrong_row", "row 1 is the number 5"),
        ([[1, 2, 3], {"x0": 1}], "wrong_row", "send one kind of row"),
    ],
)
def test_wrong_shapes_say_what_to_do(instances: Any, code: str, said: str) -> None:
    error = refusal(MATRIX, instances, max_rows=4)

    assert error.details[0]["code"] == code
    assert said in error.message


def test_ragged_rows_are_named_each() -> None:
    error = refusal(MATRIX, [[1, 2, 3], [1, 2], [1, 2, 3], [1]])

    assert faults(error) == [("/instances/1", "wrong_count"), ("/instances/3", "wrong_count")]
    assert error.message.startswith("row 1 has 2 values")


def test_missing_and_extra_columns_are_refused_by_name() -> None:
    error = refusal(FRAME, [{"age": 1, "city": "Bern", "colour/x": 3}])

    assert faults(error) == [
        ("/instances/0", "missing_feature"),
        ("/instances/0/colour~1x", "unknown_feature"),
    ]
    assert '"a/b~c"' in error.details[0]["message"]


def test_pointers_of_records_name_the_column() -> None:
    records = [{"age": 1, "city": "Bern", "a/b~c": 1}, {"age": "5", "city": 7, "a/b~c": 0.5}]

    assert faults(refusal(FRAME, records)) == [
        ("/instances/1/age", "not_a_number"),
        ("/instances/1/city", "not_a_string"),
        ("/instances/1/a~1b~0c", "not_an_integer"),
    ]


def test_at_most_twenty_faults_are_told_by_row() -> None:
    error = refusal(MATRIX, [["a", "b", "c"]] * 50)

    assert len(error.details) == 20
    assert faults(error)[:4] == [
        ("/instances/0/0", "not_a_number"),
        ("/instances/0/1", "not_a_number"),
        ("/instances/0/2", "not_a_number"),
        ("/instances/1/0", "not_a_number"),
    ]


def test_another_path_is_where_the_faults_point() -> None:
    error = refusal(MATRIX, [["a", 1, 2]], path="/input_data")

    assert faults(error) == [("/input_data/0/0", "not_a_number")]


@pytest.mark.parametrize("bad", [2**53 + 1, 2**64, math.nan, math.inf, "5", None, [1], 10**400])
@pytest.mark.parametrize("rows", [1, 3])
def test_the_fast_way_through_lets_nothing_past(bad: Any, rows: int) -> None:
    error = refusal(MATRIX, [[0.5, 1, 2]] * (rows - 1) + [[0.5, bad, -1]])

    assert [path for path, _ in faults(error)] == [f"/instances/{rows - 1}/1"]


def test_bounds_hold_for_lists_records_and_matrices() -> None:
    bounds = {"x1": Bounds(minimum=0, maximum=120)}

    assert matrix(decode_instances(MATRIX, [[1, 120, 3]], max_rows=1, bounds=bounds))
    assert faults(refusal(MATRIX, [[1, 0, 3], [1, 121, 3]], bounds=bounds)) == [
        ("/instances/1/1", "out_of_bounds")
    ]
    age = {"age": Bounds(minimum=0)}
    record = {"age": -1, "city": "Bern", "a/b~c": 1}
    assert faults(refusal(FRAME, [record], bounds=age)) == [("/instances/0/age", "out_of_bounds")]
    assert decode_instances(FRAME, [record | {"age": None}], max_rows=1, bounds=age).rows == 1


def test_an_integer_that_the_parser_made_a_float_is_refused() -> None:
    body = b"[[1.5, 123456789012345678901234567890, 2]]"
    again: Any = [[1.5, 123456789012345678901234567890, 2]]

    error = refusal(MATRIX, orjson.loads(body), reparse=lambda: again)

    assert faults(error) == [("/instances/0/1", "integer_too_large")]


def test_a_large_float_stays_one_when_the_body_is_read_again() -> None:
    batch = decode_instances(MATRIX, [[1e30, 0, 0]], max_rows=1, reparse=lambda: [[1e30, 0, 0]])

    assert matrix(batch) == [[1e30, 0.0, 0.0]]


CELLS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(min_value=-(2**53), max_value=2**53),
    st.booleans(),
)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=5), st.randoms())
def test_records_in_any_order_equal_rows(rows: list[list[Any]], random: Any) -> None:
    records = []
    for row in rows:
        pairs = list(zip(("x0", "x1", "x2"), row, strict=True))
        random.shuffle(pairs)
        records.append(dict(pairs))
    by_row = decode_instances(MATRIX, rows, max_rows=5)

    assert matrix(by_row) == matrix(decode_instances(MATRIX, records, max_rows=5))
    assert matrix(by_row) == [[float(value) for value in row] for row in rows]


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=4))
def test_values_survive_json(rows: list[list[Any]]) -> None:
    parsed = orjson.loads(orjson.dumps(rows))

    assert matrix(decode_instances(MATRIX, parsed, max_rows=4)) == matrix(
        decode_instances(MATRIX, rows, max_rows=4)
    )


def test_the_ingress_gets_no_pandas_and_no_scikit_learn_from_here() -> None:
    names = "{'pandas', 'sklearn', 'scipy', 'joblib', 'skops'}"
    code = (
        "import sys; import deployments.signatures.instances, deployments.signatures.answers, "
        f"deployments.signatures.storage; sys.exit(bool({names} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
