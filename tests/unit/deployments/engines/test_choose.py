"""Every estimator of the zoo: the engine it gets, and that its answers are scikit-learn's."""

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cluster.contracts import Batch, Method
from deployments.engines.canary import canary_batch
from deployments.engines.choose import choose_engines
from deployments.engines.loaded import LoadedModel
from deployments.signatures.derive import derive_signature
from tests.unit.deployments.engines.zoo import SPECIMENS, Specimen, fitted, many_rows

BY_NAME = pytest.mark.parametrize("specimen", SPECIMENS, ids=lambda one: one.name)


def build(specimen: Specimen) -> tuple[Any, LoadedModel, tuple[Method, ...]]:
    estimator = fitted(specimen.name)
    signature = derive_signature(estimator)
    # As if every method had been chosen: what is equal must not hang on what was faster today.
    engines = {str(method): specimen.engine for method in signature.methods}
    return estimator, LoadedModel.build(estimator, signature, engines), signature.methods


def answer(estimator: Any, method: str, rows: NDArray[np.float64]) -> Any:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return getattr(estimator, method)(rows)


def assert_same(expected: Any, actual: NDArray[Any]) -> None:
    if isinstance(expected, list):
        for row, lists in enumerate(actual):
            for part, probabilities in zip(expected, lists, strict=True):
                np.testing.assert_allclose(probabilities, part[row], rtol=1e-12, atol=1e-12)
    elif expected.dtype.kind == "f":
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)
    else:
        assert actual.tolist() == expected.tolist()


@BY_NAME
def test_the_expected_engine_passes_the_parity_check(specimen: Specimen) -> None:
    estimator = fitted(specimen.name)
    signature = derive_signature(estimator)

    choice = choose_engines(estimator, signature, canary_batch(signature))

    engine = choice.engines[signature.methods[0]]
    note = choice.notes.get(signature.methods[0], "")
    # On a busy machine a tiny original may seem as fast; anything else is a difference.
    assert engine == specimen.engine or note.endswith("is no faster when compiled")
    assert set(choice.cost_per_row_s) == set(signature.methods)


@BY_NAME
def test_answers_of_many_rows_are_those_of_scikit_learn(specimen: Specimen) -> None:
    estimator, model, methods = build(specimen)
    # The slow originals are asked for fewer rows.
    rows = many_rows(specimen, 10_000 if specimen.engine != "native" else 300)

    for method in methods:
        values, _ = model.run(method, Batch(rows=len(rows), matrix=rows))

        assert_same(answer(estimator, method, rows), values)


@BY_NAME
def test_a_row_alone_gets_the_answer_it_gets_in_a_batch(specimen: Specimen) -> None:
    _, model, methods = build(specimen)
    rows = many_rows(specimen, 40)

    for method in methods:
        together, _ = model.run(method, Batch(rows=len(rows), matrix=rows))
        alone = [
            model.run(method, Batch(rows=1, matrix=rows[row : row + 1]))[0]
            for row in range(len(rows))
        ]

        if together.dtype.kind == "f":
            np.testing.assert_allclose(np.concatenate(alone), together, rtol=1e-12, atol=1e-12)
        else:
            assert np.concatenate(alone).tolist() == together.tolist()


def test_a_method_without_compiled_form_says_why() -> None:
    estimator = fitted("neighbours")
    signature = derive_signature(estimator)

    choice = choose_engines(estimator, signature, canary_batch(signature))

    assert choice.notes["predict"] == "KNeighborsClassifier has no compiled form"


def test_an_original_that_disagrees_with_its_tables_stays_native() -> None:
    """The parity check, not the compiler, has the last word."""

    class Contrary(type(fitted("tree"))):  # type: ignore[misc]
        def predict(self, X: Any, check_input: bool = True) -> Any:  # noqa: FBT001, FBT002, N803
            return super().predict(X, check_input)[::-1]

    # The compiler goes by name, as it would for a library version that changed its arithmetic.
    Contrary.__module__, Contrary.__name__ = "sklearn.tree", "DecisionTreeClassifier"
    estimator = Contrary()
    estimator.__dict__.update(vars(fitted("tree")))
    signature = derive_signature(estimator)

    choice = choose_engines(estimator, signature, canary_batch(signature))

    assert choice.engines["predict"] == "native"
    assert choice.notes["predict"].startswith("predict differs from scikit-learn in row")
    assert choice.engines["predict_proba"] == "trees"
