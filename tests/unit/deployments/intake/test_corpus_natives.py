"""
Corpus of the intake, cases 84 to 95: allowed classes whose numbers would crash compiled code.

Each model is honest until one number is changed; it goes out as pickle, joblib and skops, and is
never asked for a prediction.
"""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.cluster._kmeans import _kmeans_single_lloyd
from sklearn.ensemble import (
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MultiLabelBinarizer,
    OneHotEncoder,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from cluster.errors import UploadRefused
from deployments.intake.reader import construct, read_model
from tests.unit.deployments.intake.bent_models import (
    NEVER_FITS,
    X,
    Y,
    _joblib,
    assert_refused,
    saved,
)


class BentState:
    """Pickles as a call and a state of our choice."""

    def __init__(self, *reduced: Any) -> None:
        self._reduced = reduced

    def __reduce__(self) -> Any:
        return self._reduced


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree"])
@pytest.mark.parametrize(
    ("position", "change"),
    [
        pytest.param(1, lambda a: a.__setitem__(0, NEVER_FITS), id="index"),
        pytest.param(1, lambda a: a.__setitem__(0, a[1]), id="index twice"),
        pytest.param(2, lambda a: a["idx_end"].__setitem__(0, NEVER_FITS), id="node end"),
        pytest.param(2, lambda a: a["idx_start"].__setitem__(0, -5), id="node start"),
        pytest.param(2, lambda a: a["is_leaf"].__setitem__(-1, 0), id="no children"),
    ],
)
def test_89_bent_neighbour_trees_are_refused(
    algorithm: str, position: int, change: Callable[[Any], None]
) -> None:
    model = KNeighborsClassifier(algorithm=algorithm, leaf_size=5).fit(X, Y)
    function, args, state = model._tree.__reduce__()
    bent = [part.copy() if isinstance(part, np.ndarray) else part for part in state]
    change(bent[position])
    model._tree = BentState(function, args, tuple(bent))

    for content in (pickle.dumps(model), _joblib(model)):
        with pytest.raises(UploadRefused) as refused:
            read_model(content, "joblib" if b"NumpyArrayWrapper" in content else "pickle")
        assert refused.value.context["reason"] == "native"


def test_89_label_without_a_class_is_refused() -> None:
    model = KNeighborsClassifier().fit(X, Y)
    model._y = model._y + NEVER_FITS

    assert_refused(model, "native")


def test_89_points_of_other_features_are_refused() -> None:
    model = KNeighborsClassifier(algorithm="brute").fit(X, Y)
    model._fit_X = model._fit_X[:, :2].copy()

    assert_refused(model, "native")


@pytest.mark.parametrize(
    "model",
    [
        KNeighborsClassifier(algorithm="brute").fit(X, Y),
        KMeans(2, n_init=1, random_state=0).fit(X),
        RandomForestClassifier(2).fit(X, Y),
        SVC().fit(X, Y),
        DecisionTreeClassifier().fit(X, Y),
    ],
    ids=lambda model: type(model).__name__,
)
def test_model_that_hides_its_number_of_features_is_refused(model: Any) -> None:
    del model.n_features_in_

    assert_refused(model, "native", "tree")


def test_centres_of_other_features_are_refused() -> None:
    model = KMeans(2, n_init=1, random_state=0).fit(X)
    model.cluster_centers_ = model.cluster_centers_[:, :2].copy()

    assert_refused(model, "native")


@pytest.mark.parametrize("position", [10**8, -(10**8), 625])
def test_90_random_state_out_of_its_words_is_refused(position: int) -> None:
    state = np.random.RandomState(0)
    words = state.get_state(legacy=False)
    words["state"]["pos"] = position
    state.set_state(words)
    model = LogisticRegression(random_state=state).fit(X, Y)
    state.set_state(words)

    assert_refused(model, "native")


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_91_sparse_indices_out_of_range_are_refused(kind: Any) -> None:
    model = LogisticRegression().fit(X, Y)
    matrix = kind(model.coef_)
    matrix.indices[0] = NEVER_FITS
    model.coef_ = matrix
    pickled = pickle.dumps(model)

    with pytest.raises(UploadRefused) as refused:
        read_model(pickled, "pickle")
    assert refused.value.context["reason"] == "native"


def test_91_honest_sparse_coefficients_are_accepted() -> None:
    model = LogisticRegression().fit(X, Y).sparsify()

    for format_, content in saved(model):
        loaded: Any = read_model(content, format_)
        assert loaded.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()


@pytest.mark.parametrize(
    ("key", "change"),
    [
        pytest.param("_n_support", lambda a: a + 100, id="92 n_support"),
        pytest.param("_dual_coef_", lambda a: a[:, :-1].copy(), id="coefficients"),
        pytest.param("_intercept_", lambda a: a[:0].copy(), id="intercept"),
        pytest.param("_probA", lambda _: np.zeros(7), id="probabilities"),
        pytest.param("support_vectors_", lambda a: a[:, :1].copy(), id="vectors"),
        pytest.param("shape_fit_", lambda _: (60, 99), id="shape"),
    ],
)
def test_92_bent_support_vectors_are_refused(key: str, change: Callable[[Any], Any]) -> None:
    model = SVC().fit(X, Y)
    setattr(model, key, change(getattr(model, key)))

    assert_refused(model, "native")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(?:a|a)*b", "(x+x+)+y", "(", r"(\w*)*!"])
def test_93_token_pattern_that_may_not_end_is_refused(pattern: str) -> None:
    model = CountVectorizer().fit(["a b c dd"])
    model.token_pattern = pattern

    assert_refused(model, "regex")


@pytest.mark.parametrize(
    "pattern", [r"(?u)\b\w\w+\b", r"\S+", r"[a-z]+(?:'[a-z]+)?", r"(?u)\b\w[\w-]*\b", r"\d+|\w+"]
)
def test_93_honest_token_patterns_are_accepted(pattern: str) -> None:
    model = CountVectorizer(token_pattern=pattern).fit(["ab cd ef"])

    loaded: Any = read_model(pickle.dumps(model), "pickle")

    assert loaded.vocabulary_ == model.vocabulary_


def test_94_parameters_that_burden_the_machine_are_set_back() -> None:
    forest = RandomForestClassifier(3, random_state=0).fit(X, Y)
    forest.n_jobs, forest.verbose, forest.warm_start = 100_000, 10**9, True
    model = make_pipeline(StandardScaler(), forest)
    model.steps[0][1].fit(X)
    model.memory, model.verbose = "/", True

    for format_, content in saved(model):
        loaded: Any = read_model(content, format_)
        inner = loaded.steps[1][1]
        assert (inner.n_jobs, inner.verbose, inner.warm_start) == (None, 0, False)
        assert (loaded.memory, loaded.verbose) == (None, False)


@pytest.mark.parametrize("source", ["filename", "file"])
def test_vectorizer_that_would_open_files_is_refused(source: str) -> None:
    model = CountVectorizer().fit(["ab cd"])
    model.input = source

    assert_refused(model, "parameter")


def test_label_cache_is_never_taken_from_the_file() -> None:
    model = MultiLabelBinarizer().fit([["a"], ["b"]])
    model._cached_dict = {"a": NEVER_FITS, "b": 1}

    loaded: Any = construct(pickle.dumps(model), "pickle").estimator

    assert loaded.transform([["a"]]).tolist() == [[1, 0]]


def test_private_step_of_scikit_learn_is_no_transformer() -> None:
    model = FunctionTransformer(_kmeans_single_lloyd).fit(X)

    assert_refused(model, "object")


def test_support_vector_outside_its_kernel_is_refused() -> None:
    model = SVC().fit(X, Y)
    model.support_ = model.support_ + 10_000

    assert_refused(model, "native")


def test_vocabulary_beyond_its_columns_is_refused() -> None:
    model = CountVectorizer().fit(["ab cd ef"])
    model.vocabulary_["ab"] = NEVER_FITS

    assert_refused(model, "native")


def test_encoder_with_more_categories_than_columns_is_refused() -> None:
    model = OneHotEncoder().fit([["a"], ["b"], ["c"]])
    model._n_features_outs = [1]

    assert_refused(model, "native")


def test_isotonic_thresholds_out_of_order_are_refused() -> None:
    model = IsotonicRegression().fit(np.arange(9.0), np.arange(9.0) ** 2)
    model.X_thresholds_ = model.X_thresholds_[::-1].copy()

    assert_refused(model, "native")


def test_spline_knots_out_of_order_are_refused() -> None:
    model = SplineTransformer().fit(X)
    model.bsplines_[0]._t = model.bsplines_[0]._t[::-1].copy()

    with pytest.raises(UploadRefused) as refused:
        construct(pickle.dumps(model), "pickle")
    assert refused.value.context["reason"] == "native"
