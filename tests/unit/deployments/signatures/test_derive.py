"""What a fitted estimator takes and gives, read from its parts and tried once."""

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.cluster import DBSCAN, KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    LabelEncoder,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    StandardScaler,
)

from cluster.contracts import Feature, OutputSpec
from cluster.errors import UploadRefused
from deployments.signatures.derive import derive_signature

ROWS, LABELS = load_iris(return_X_y=True)
TEXTS = ["good film", "bad film", "good plot", "bad plot"] * 5
SIDES = np.array([1, 0, 1, 0] * 5)


def types(estimator: Any) -> list[str]:
    return [feature.type for feature in derive_signature(estimator).features]


def test_an_array_model_has_numbered_features_and_a_matrix() -> None:
    signature = derive_signature(LogisticRegression(max_iter=500).fit(ROWS, LABELS))

    assert (signature.kind, signature.container) == ("table", "matrix")
    assert [feature.name for feature in signature.features] == ["x0", "x1", "x2", "x3"]
    assert signature.features[0] == Feature(name="x0", type="number", nullable=False)
    assert signature.methods == ("predict", "predict_proba", "decision_function")
    assert signature.outputs["predict"] == OutputSpec(type="INT64", shape=(-1,))
    assert signature.outputs["predict_proba"] == OutputSpec(type="FP64", shape=(-1, 3))
    assert signature.classes == (0, 1, 2)
    assert signature.sklearn_version.startswith("1.")


def test_string_labels_are_bytes_and_listed() -> None:
    names = np.array(["a", "b", "c"])[LABELS]

    signature = derive_signature(LogisticRegression(max_iter=500).fit(ROWS, names))

    assert signature.outputs["predict"] == OutputSpec(type="BYTES", shape=(-1,))
    assert signature.classes == ("a", "b", "c")


def test_several_outputs_have_a_tuple_of_classes_each() -> None:
    targets = np.stack([LABELS, LABELS % 2], axis=1)

    signature = derive_signature(RandomForestClassifier(3).fit(ROWS, targets))

    assert signature.classes == ((0, 1, 2), (0, 1))
    assert signature.outputs["predict"] == OutputSpec(type="INT64", shape=(-1, 2))
    assert signature.outputs["predict_proba"] == OutputSpec(type="FP64", shape=(-1, 2, -1))


def test_multi_output_wrappers_answer_like_forests() -> None:
    targets = np.stack([LABELS > 0, LABELS > 1], axis=1).astype(int)
    model = MultiOutputClassifier(LogisticRegression(max_iter=500)).fit(ROWS, targets)

    assert derive_signature(model).outputs["predict_proba"].shape == (-1, 2, 2)


@pytest.mark.parametrize(
    ("estimator", "nullable"),
    [
        (LogisticRegression(max_iter=500), False),
        (make_pipeline(SimpleImputer(), LogisticRegression(max_iter=500)), True),
        (make_pipeline(StandardScaler(), LogisticRegression()), False),  # the scaler lets NaN by
        (HistGradientBoostingClassifier(max_iter=3), True),
        (RandomForestClassifier(3), True),
        (make_pipeline(SimpleImputer(missing_values=-1), LogisticRegression(max_iter=500)), False),
    ],
)
def test_null_is_taken_where_the_estimator_takes_it(estimator: Any, nullable: bool) -> None:  # noqa: FBT001
    signature = derive_signature(estimator.fit(ROWS, LABELS))

    assert {feature.nullable for feature in signature.features} == {nullable}


def test_an_object_array_of_strings_and_integers_keeps_both() -> None:
    rows = np.array([["a", 3], ["b", 5], ["a", 5]], dtype=object)

    signature = derive_signature(OneHotEncoder().fit(rows))

    assert signature.container == "objects"
    assert [f.type for f in signature.features] == ["string", "integer"]
    assert [f.categories for f in signature.features] == [("a", "b"), (3, 5)]
    assert not any(feature.nullable for feature in signature.features)


def test_an_encoder_that_ignores_unknown_values_lists_none() -> None:
    rows = np.array([["a"], ["b"]], dtype=object)

    signature = derive_signature(OneHotEncoder(handle_unknown="ignore").fit(rows))

    assert signature.features[0].categories is None


def test_a_none_seen_in_training_is_the_missing_marker() -> None:
    rows = np.array([["a"], [None], ["b"]], dtype=object)

    (feature,) = derive_signature(OrdinalEncoder().fit(rows)).features

    assert (feature.nullable, feature.missing, feature.categories) == (True, "none", ("a", "b"))


def test_strings_without_categories_are_found_by_trying() -> None:
    """FunctionTransformer tells nothing and the imputer only of a string."""
    rows = np.array([["a"], ["b"], ["a"]], dtype=object)
    imputer = SimpleImputer(strategy="most_frequent")

    assert types(make_pipeline(imputer, OneHotEncoder(handle_unknown="ignore")).fit(rows)) == [
        "string"
    ]


@pytest.mark.parametrize(
    "vectorizer",
    [
        CountVectorizer(),
        HashingVectorizer(n_features=16, alternate_sign=False),
        FeatureUnion([("word", TfidfVectorizer()), ("letter", CountVectorizer(analyzer="char"))]),
    ],
)
def test_a_vectorizer_in_front_makes_a_text_model(vectorizer: Any) -> None:
    signature = derive_signature(make_pipeline(vectorizer, MultinomialNB()).fit(TEXTS, SIDES))

    assert (signature.kind, signature.container) == ("text", "documents")
    assert [(f.name, f.type) for f in signature.features] == [("text", "string")]
    assert signature.methods == ("predict", "predict_proba")


def test_a_vectorizer_alone_transforms() -> None:
    signature = derive_signature(CountVectorizer().fit(TEXTS))

    assert signature.outputs == {"transform": OutputSpec(type="INT64", shape=(-1, 4))}


def test_positive_data_alone_is_found_by_trying() -> None:
    model = make_pipeline(PowerTransformer("box-cox"), LinearRegression()).fit(ROWS, LABELS)

    assert derive_signature(model).methods == ("predict",)


@pytest.mark.parametrize(
    ("estimator", "methods"),
    [
        (KMeans(3, n_init=1), ("predict", "transform")),
        (KernelDensity(), ("score_samples",)),
        (
            LocalOutlierFactor(novelty=True),
            ("predict", "decision_function", "score_samples"),
        ),
        (StandardScaler(), ("transform",)),
    ],
)
def test_methods_are_those_that_answer(estimator: Any, methods: tuple[str, ...]) -> None:
    assert derive_signature(estimator.fit(ROWS)).methods == methods


def test_isotonic_regression_has_one_feature() -> None:
    assert len(derive_signature(IsotonicRegression().fit(ROWS[:, 0], LABELS)).features) == 1


@pytest.mark.parametrize(
    "ensemble",
    [
        VotingClassifier([("a", LogisticRegression(max_iter=500)), ("b", MultinomialNB())]),
        StackingClassifier([("a", MultinomialNB())], LogisticRegression(max_iter=500), cv=2),
    ],
)
def test_ensembles_over_encoded_strings_take_strings(ensemble: Any) -> None:
    """What stands inside an ensemble sees the same columns as the ensemble."""
    encoder = OneHotEncoder(handle_unknown="ignore")
    ensemble.set_params(a=make_pipeline(encoder, MultinomialNB()))
    if "b" in ensemble.get_params(deep=False) or hasattr(ensemble, "voting"):
        ensemble.set_params(
            b=make_pipeline(OneHotEncoder(handle_unknown="ignore"), MultinomialNB())
        )
    rows = np.array([["a", "x"], ["b", "y"], ["c", "x"], ["a", "y"]] * 5, dtype=object)

    assert types(ensemble.fit(rows, SIDES)) == ["string", "string"]


def test_a_transformed_target_passes_its_columns_on() -> None:
    rows, target = load_diabetes(return_X_y=True)
    model = TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1)

    assert types(model.fit(rows, target)) == ["number"] * 10


class Foreign:
    """Another library's model."""

    def predict(self, rows: Any) -> Any:
        return rows


@pytest.mark.parametrize(
    ("root", "reason", "words"),
    [
        ({"model": Ridge(), "scaler": StandardScaler()}, "root", "'model', 'scaler'"),
        ([1, 2], "root", "one fitted estimator"),
        (np.zeros(3), "root", "numpy.ndarray"),
        (None, "root", "NoneType"),
        (Ridge, "root", "Ridge"),
        (Foreign(), "other_library", "ONNX"),
        (Ridge(), "unfitted", "call fit()"),
        (make_pipeline(StandardScaler(), Ridge()), "unfitted", "call fit()"),
        (FunctionTransformer(), "unfitted", "call fit()"),
        (DBSCAN().fit(ROWS), "no_method", "predict_proba"),
        (LabelEncoder().fit(LABELS), "input_kind", "targets"),
        (DictVectorizer().fit([{"a": 1}]), "input_kind", "OneHotEncoder"),
        (CountVectorizer().fit(TEXTS).set_params(input="filename"), "input_kind", "reads files"),
    ],
)
def test_what_cannot_be_served_is_refused_with_a_way_out(
    root: object, reason: str, words: str
) -> None:
    with pytest.raises(UploadRefused, match=r".+") as refused:
        derive_signature(root)

    assert refused.value.context["reason"] == reason
    assert words in refused.value.message


class Broken(BaseEstimator):  # type: ignore[misc]
    """Fitted, and raising whatever it is given."""

    def fit(self) -> "Broken":
        self.n_features_in_ = 2
        return self

    def predict(self, rows: Any) -> Any:
        del rows
        raise RuntimeError("flux capacitor")


def test_an_estimator_that_always_raises_is_refused_without_its_text() -> None:
    with pytest.raises(UploadRefused) as refused:
        derive_signature(Broken().fit())

    assert refused.value.context["reason"] == "canary"
    assert "flux" not in refused.value.message
    assert "flux capacitor" in str(refused.value.context["library_text"])


def test_an_unfitted_step_inside_a_fitted_pipeline_is_refused() -> None:
    model = Pipeline([("scale", StandardScaler()), ("model", Ridge().fit(ROWS, LABELS))])

    with pytest.raises(UploadRefused) as refused:
        derive_signature(model)

    assert refused.value.context["reason"] in {"unfitted", "features"}


def test_a_column_transformer_by_position_needs_no_frame() -> None:
    rows = np.array([["a", 1.0], ["b", 2.0], ["a", 3.0]], dtype=object)
    model = ColumnTransformer([("c", OneHotEncoder(), [0]), ("n", StandardScaler(), slice(1, 2))])

    signature = derive_signature(model.fit(rows))

    assert signature.container == "objects"
    assert [f.type for f in signature.features] == ["string", "number"]
