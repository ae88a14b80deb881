"""A version in memory: which engine answers what, and what it weighs."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from cluster.contracts import Batch
from cluster.errors import InvalidInput, PredictionFailed
from deployments.engines.loaded import LoadedModel
from deployments.engines.memory import measured_bytes
from deployments.engines.pace import Pace
from deployments.signatures.derive import derive_signature
from tests.unit.deployments.engines.zoo import SPECIMENS, fitted, many_rows


def loaded(name: str, **engines: str) -> LoadedModel:
    estimator = fitted(name)
    return LoadedModel.build(estimator, derive_signature(estimator), engines)


def batch_of(name: str, rows: int) -> Batch:
    specimen = next(one for one in SPECIMENS if one.name == name)
    return Batch(rows=rows, matrix=many_rows(specimen, rows))


def test_each_method_is_answered_by_the_engine_chosen_for_it() -> None:
    model = loaded("forest", predict="trees", predict_proba="native")

    assert model.run("predict", batch_of("forest", 1))[1] == "trees"
    assert model.run("predict_proba", batch_of("forest", 1))[1] == "native"


def test_without_a_choice_the_original_answers() -> None:
    estimator = fitted("forest")
    model = LoadedModel.build(estimator, derive_signature(estimator))

    assert model.run("predict", batch_of("forest", 1))[1] == "native"
    assert model.compiled is None


def test_a_choice_that_cannot_be_compiled_any_more_falls_back() -> None:
    model = loaded("neighbours", predict="trees")

    assert model.run("predict", batch_of("neighbours", 1))[1] == "native"


def test_an_unknown_method_names_those_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"predict, predict_proba"):
        loaded("forest").run("transform", batch_of("forest", 1))


def test_large_batches_try_both_engines_then_keep_the_faster() -> None:
    model = loaded("forest", predict="trees")
    batch = batch_of("forest", 300)

    tried = [model.run("predict", batch)[1] for _ in range(2)]
    answers = [model.run("predict", batch)[0].tolist() for _ in range(3)]

    assert sorted(tried) == ["native", "trees"]
    assert answers[0] == answers[1] == answers[2]


def test_pace_prefers_the_engine_that_took_less_per_row() -> None:
    pace = Pace()
    pace.record("predict", 1000, "trees", 0.5)
    pace.record("predict", 1000, "native", 0.1)

    assert pace.pick("predict", 1000, ("trees", "native")) == "native"
    assert pace.pick("predict", 900, ("trees", "native")) == "native"
    # Small batches keep vetting's choice, and other sizes and methods are learnt apart.
    assert pace.pick("predict", 1, ("trees", "native")) == "trees"
    assert pace.pick("predict", 5000, ("trees", "native")) == "trees"
    assert pace.pick("transform", 1000, ("trees", "native")) == "trees"


def test_memory_grows_with_the_trees() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 4))
    labels = rows[:, 0] > 0.2 * rows[:, 1]
    small, large = (
        measured_bytes(RandomForestClassifier(count, random_state=0).fit(rows, labels))
        for count in (10, 40)
    )

    assert 3 * small < large < 5 * small


def test_memory_counts_an_array_once_whatever_looks_into_it() -> None:
    array = np.zeros(100_000)

    assert measured_bytes([array, array[10:], array]) == pytest.approx(array.nbytes, rel=0.01)


def test_the_compiled_form_is_part_of_the_weight() -> None:
    model = loaded("forest", predict="trees")

    assert model.compiled is not None
    assert model.memory_bytes > loaded("forest").memory_bytes + model.compiled.memory_bytes - 1


@pytest.mark.parametrize("name", ["forest", "scaled logistic"])
def test_a_number_beyond_the_models_arithmetic_fails_naming_the_row(name: str) -> None:
    engine = "trees" if name == "forest" else "linear"
    batch = batch_of(name, 3)
    assert batch.matrix is not None
    matrix = batch.matrix.copy()
    matrix[1, 0] = 1.7e308

    with pytest.raises(PredictionFailed) as failed:
        loaded(name, predict=engine).run("predict", Batch(rows=3, matrix=matrix))

    assert failed.value.context["row"] == 1
