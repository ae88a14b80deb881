"""The type table: what each feature type takes, as what, and what it refuses with which code."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cluster.contracts import Feature
from cluster.errors import InvalidInput
from deployments.signatures.instances import decode_instances
from tests.unit.deployments.signatures.signatures import frame_signature

NUMBER = Feature(name="f", type="number", nullable=False)
NULLABLE = Feature(name="f", type="number", nullable=True)
SINGLE = Feature(name="f", type="number", nullable=False, dtype="float32")
OBJECT_NUMBER = Feature(name="f", type="number", nullable=True, dtype="object", missing="none")
INTEGRAL_NUMBER = Feature(name="f", type="number", nullable=False, dtype="int64")
INTEGER = Feature(name="f", type="integer", nullable=False, dtype="int64")
NULLABLE_INTEGER = Feature(name="f", type="integer", nullable=True, dtype="int64")
YEAR = Feature(name="f", type="integer", nullable=False, dtype="int64", categories=(2000, 3000))
BYTE = Feature(name="f", type="integer", nullable=False, dtype="int8")
STRING = Feature(name="f", type="string", nullable=False, dtype="str")
CITY = Feature(
    name="f", type="string", nullable=True, dtype="category", categories=("Basel", "Bern")
)
NONE_STRING = Feature(name="f", type="string", nullable=True, dtype="object", missing="none")
BOOLEAN = Feature(name="f", type="boolean", nullable=False, dtype="bool")
NULLABLE_BOOLEAN = Feature(name="f", type="boolean", nullable=True, dtype="boolean", missing="na")
TIME = Feature(name="f", type="datetime", nullable=True, dtype="datetime64[ns]", missing="nat")
MICROS = Feature(name="f", type="datetime", nullable=False, dtype="datetime64[us]")
ZONED = Feature(name="f", type="datetime", nullable=False, dtype="datetime64[us, Europe/Berlin]")
UNKNOWN = Feature(name="f", type="unknown", nullable=True, dtype="object")


def decoded(feature: Feature, values: list[Any]) -> NDArray[Any]:
    batch = decode_instances(frame_signature(feature), [[v] for v in values], max_rows=100)
    assert batch.columns is not None
    return batch.columns[0]


def test_null_becomes_the_marker_the_column_was_fitted_with() -> None:
    assert math.isnan(decoded(NULLABLE, [1.0, None])[1])
    assert math.isnan(decoded(CITY, ["Bern", None])[1])
    assert decoded(NONE_STRING, ["a", None]).tolist() == ["a", None]
    assert decoded(NULLABLE_BOOLEAN, [True, None]).tolist() == [True, None]
    assert np.isnat(decoded(TIME, [None])[0])


@pytest.mark.parametrize(
    ("feature", "values", "dtype", "expected"),
    [
        (NUMBER, [1, 2.5, True, False], "float64", [1.0, 2.5, 1.0, 0.0]),
        (NUMBER, [2**53, -(2**53)], "float64", [2.0**53, -(2.0**53)]),
        (NUMBER, [1.7e308, -1.7e308], "float64", [1.7e308, -1.7e308]),
        (SINGLE, [0.1], "float32", [float(np.float32(0.1))]),
        (OBJECT_NUMBER, [1, 2.5, None], "object", [1, 2.5, None]),
        (INTEGRAL_NUMBER, [3, 3.0], "int64", [3, 3]),
        (INTEGER, [3000, 3000.0, True], "int64", [3000, 3000, 1]),
        (INTEGER, [2**63 - 1], "int64", [2**63 - 1]),
        (YEAR, [3000, 3000.0], "int64", [3000, 3000]),
        (BYTE, [-128, 127], "int8", [-128, 127]),
        (STRING, ["5", ""], "object", ["5", ""]),
        (CITY, ["Bern", "Basel"], "object", ["Bern", "Basel"]),
        (BOOLEAN, [True, False], "bool", [True, False]),
        (BOOLEAN, [1, 0.0], "bool", [True, False]),  # as a numeric tensor writes them
        (UNKNOWN, [1, 2], "int64", [1, 2]),
        (UNKNOWN, [1, 2.5], "float64", [1.0, 2.5]),
        (UNKNOWN, ["a", "b"], "object", ["a", "b"]),
        (UNKNOWN, [True, False], "bool", [True, False]),
    ],
)
def test_taken_values(feature: Feature, values: list[Any], dtype: str, expected: list[Any]) -> None:
    array = decoded(feature, values)

    assert array.dtype == np.dtype(dtype)
    assert array.tolist() == expected
    assert [type(item) for item in array.tolist()] == [type(item) for item in expected]


def test_nulls_turn_an_integer_column_into_floats_as_in_pandas() -> None:
    array = decoded(NULLABLE_INTEGER, [1, None])

    assert array.dtype == np.float64
    assert array[0] == 1


@pytest.mark.parametrize(
    ("feature", "text", "expected"),
    [
        (TIME, "2024-02-29T12:30:00Z", "2024-02-29T12:30:00"),
        (TIME, "2024-02-29t12:30:00.123456789z", "2024-02-29T12:30:00.123456789"),
        (TIME, "2024-02-29T12:30:00+02:00", "2024-02-29T10:30:00"),  # a naive column means UTC
        (TIME, "2024-02-29T23:30:00.5-01:30", "2024-03-01T01:00:00.5"),
        (TIME, "2024-02-29 12:30:00", "2024-02-29T12:30:00"),  # what pandas writes
        (TIME, "2024-02-29", "2024-02-29T00:00:00"),
        (TIME, "1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999999"),
        (MICROS, "2024-02-29T12:30:00.123456000Z", "2024-02-29T12:30:00.123456"),
        (ZONED, "2024-07-01T12:00:00+02:00", "2024-07-01T10:00:00"),  # handed over in UTC
    ],
)
def test_taken_datetimes(feature: Feature, text: str, expected: str) -> None:
    assert decoded(feature, [text])[0] == np.datetime64(expected)


@pytest.mark.parametrize(
    ("feature", "value", "code"),
    [
        (NUMBER, "5", "not_a_number"),  # digits in a string are a string
        (NUMBER, None, "null_refused"),
        (NUMBER, math.nan, "not_finite"),
        (NULLABLE, math.nan, "not_finite"),  # missing is null, never NaN
        (NUMBER, math.inf, "not_finite"),
        (NUMBER, 2**53 + 1, "integer_too_large"),
        (NUMBER, -(2**53) - 1, "integer_too_large"),
        (NUMBER, 10**400, "integer_too_large"),
        (NUMBER, [1.0], "not_a_number"),
        (NUMBER, {"a": 1}, "not_a_number"),
        (SINGLE, 1e39, "not_finite"),  # would be an infinity in float32
        (OBJECT_NUMBER, 2**63, "integer_too_large"),
        (OBJECT_NUMBER, "x", "not_a_number"),
        (INTEGRAL_NUMBER, 3.5, "not_an_integer"),
        (INTEGER, 3.5, "not_an_integer"),
        (INTEGER, 1e300, "not_an_integer"),
        (INTEGER, 2**63, "integer_too_large"),
        (INTEGER, "3", "not_a_number"),
        (NULLABLE_INTEGER, 2**53 + 1, "integer_too_large"),  # a null would make it a float
        (BYTE, 128, "integer_too_large"),
        (YEAR, 2001, "unknown_category"),
        (STRING, 5, "not_a_string"),
        (STRING, True, "not_a_string"),
        (STRING, None, "null_refused"),
        (CITY, "Chur", "unknown_category"),
        (BOOLEAN, "true", "not_a_boolean"),
        (BOOLEAN, 2, "not_a_boolean"),
        (BOOLEAN, None, "null_refused"),
        (TIME, "01/02/2024", "not_rfc3339"),
        (TIME, "2024-02-30T00:00:00Z", "not_rfc3339"),  # no such day
        (TIME, "2024-02-28T24:00:00Z", "not_rfc3339"),
        (TIME, "2024-02-28T12:00:00+25:00", "not_rfc3339"),
        (TIME, "2300-01-01T00:00:00Z", "not_rfc3339"),  # beyond 64 bits of nanoseconds
        (TIME, "٢024-01-01", "not_rfc3339"),
        (TIME, 1700000000, "not_rfc3339"),
        (MICROS, "2024-02-29T12:30:00.1234567Z", "not_rfc3339"),  # finer than the column
        (ZONED, "2024-07-01T12:00:00", "not_rfc3339"),  # which zone?
        (UNKNOWN, [1], "not_a_scalar"),
        (UNKNOWN, math.nan, "not_a_scalar"),
    ],
)
def test_refused_values(feature: Feature, value: Any, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decoded(feature, [value])

    (detail,) = refused.value.details
    assert (detail["path"], detail["code"]) == ("/instances/0/0", code)
    assert 'feature "f"' in refused.value.message


def test_an_unknown_category_names_at_most_twenty_known_ones() -> None:
    known = tuple(f"c{index:02}" for index in range(30))
    feature = Feature(name="f", type="string", nullable=False, dtype="str", categories=known)
    with pytest.raises(InvalidInput, match="c00, c01") as refused:
        decoded(feature, ["zz"])

    assert "c19 and 10 more" in refused.value.message
    assert "c20" not in refused.value.message


def test_an_unknown_column_keeps_to_one_kind_in_a_request() -> None:
    with pytest.raises(InvalidInput, match="send one kind") as refused:
        decoded(UNKNOWN, [1, "a", None, 2])

    assert [detail["path"] for detail in refused.value.details] == ["/instances/1/0"]
