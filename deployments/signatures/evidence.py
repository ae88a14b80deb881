"""
What a fitted estimator's parts tell of its input columns, found by walking it column by column.

Encoders know categories, imputers know what stood for a missing value, everything else that
validates its input takes numbers.  Nothing is called here but attribute look-ups.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deployments.engines.base import Estimator
from deployments.signatures.categories import Categories, read_categories
from deployments.signatures.column_specs import resolve_columns
from deployments.signatures.markers import Marker, marker_of

#: Estimators nested deeper than this tell no more.
_MAX_DEPTH = 16
#: First steps of text models.
VECTORIZERS = frozenset({"CountVectorizer", "TfidfVectorizer", "HashingVectorizer"})
#: Reaching one of these tells nothing of a column: only what is inside reads it.
_CONTAINERS = frozenset({"Pipeline", "ColumnTransformer", "FeatureUnion"})
#: Attributes under which meta-estimators keep what sees the same columns as they do.
_INNER = (
    "best_estimator_",
    "estimator_",
    "regressor_",
    "final_estimator",
    "estimators_",
    "calibrated_classifiers_",
    "estimator",
)


@dataclass(slots=True)
class ColumnEvidence:
    """What is known of one input column so far; filled while walking."""

    #: From an encoder, or from an imputer of strings.
    categories: Categories | None = None
    is_number: bool = False
    is_string: bool = False
    #: What stood for a missing value in training.
    marker: Marker | None = None
    #: Names of the transformers that read it: columns with equal readers behave alike.
    readers: list[str] = field(default_factory=list)

    @property
    def is_known(self) -> bool:
        """Whether any reader told its type."""
        return self.categories is not None or self.is_number or self.is_string


#: Columns that still are input columns, in their present order; ``None`` once they are mixed.
Tracked = Sequence[ColumnEvidence] | None


def read_evidence(estimator: Estimator, width: int) -> list[ColumnEvidence]:
    """Evidence for each of ``width`` input columns, in order."""
    columns = [ColumnEvidence() for _ in range(width)]
    _walk(estimator, columns, "model", _MAX_DEPTH)
    return columns


def _walk(estimator: Estimator, columns: Tracked, path: str, depth: int) -> Tracked:
    if columns is None or depth == 0:
        return None
    if estimator is None or isinstance(estimator, str):
        return columns if estimator in {None, "passthrough"} else None
    name = type(estimator).__name__
    if name not in _CONTAINERS:
        for column in columns:
            column.readers.append(path)
    return _READERS.get(name, _numeric)(estimator, columns, path, depth)


def _pipeline(pipeline: Estimator, columns: Tracked, path: str, depth: int) -> Tracked:
    for name, step in pipeline.steps:
        columns = _walk(step, columns, f"{path}/{name}", depth - 1)
    return columns


def _column_transformer(
    transformer: Estimator, columns: Sequence[ColumnEvidence], path: str, depth: int
) -> Tracked:
    names = getattr(transformer, "feature_names_in_", None)
    for name, inner, spec in transformer.transformers_:
        if isinstance(inner, str) and inner == "drop":
            continue
        chosen = [columns[index] for index in resolve_columns(spec, names, len(columns))]
        for column in chosen:
            column.readers.append(f"{path}/{name}")
        _walk(inner, chosen, f"{path}/{name}", depth - 1)
    return None


def _feature_union(union: Estimator, columns: Tracked, path: str, depth: int) -> Tracked:
    for name, inner in union.transformer_list:
        _walk(inner, columns, f"{path}/{name}", depth - 1)
    return None


def _encoder(
    encoder: Estimator, columns: Sequence[ColumnEvidence], path: str, depth: int
) -> Tracked:
    del path, depth
    is_strict = getattr(encoder, "handle_unknown", "ignore") == "error"
    for column, values in zip(columns, encoder.categories_, strict=False):
        column.categories = read_categories(values, is_strict=is_strict)
        if column.categories.marker is not None:
            column.marker = column.categories.marker
    return None


def _imputer(
    imputer: Estimator, columns: Sequence[ColumnEvidence], path: str, depth: int
) -> Tracked:
    del path, depth
    marker = marker_of(imputer.missing_values)
    statistics = getattr(imputer, "statistics_", [None] * len(columns))
    for column, statistic in zip(columns, statistics, strict=False):
        column.marker = column.marker or marker
        column.is_string = column.is_string or isinstance(statistic, str)
    kept = getattr(imputer, "keep_empty_features", False) or not any(map(_is_nan, statistics))
    return columns if kept and not getattr(imputer, "add_indicator", False) else None


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and value != value  # noqa: PLR0124  # NaN alone differs from itself


def _vectorizer(
    vectorizer: Estimator, columns: Sequence[ColumnEvidence], path: str, depth: int
) -> Tracked:
    del vectorizer, path, depth
    for column in columns:
        column.is_string = True
    return None


def _transparent(
    transformer: Estimator, columns: Sequence[ColumnEvidence], path: str, depth: int
) -> Tracked:
    del transformer, path, depth
    return columns


def _numeric_transparent(
    transformer: Estimator, columns: Sequence[ColumnEvidence], path: str, depth: int
) -> Tracked:
    _numeric(transformer, columns, path, depth)
    return columns


def _histograms(
    model: Estimator, columns: Sequence[ColumnEvidence], path: str, depth: int
) -> Tracked:
    preprocessor = getattr(model, "_preprocessor", None)
    if preprocessor is None:
        return _numeric(model, columns, path, depth)
    encoder = preprocessor.named_transformers_["encoder"]
    encoded = [
        column for column, is_one in zip(columns, model.is_categorical_, strict=True) if is_one
    ]
    plain = [c for c, is_one in zip(columns, model.is_categorical_, strict=True) if not is_one]
    _walk(encoder, encoded, f"{path}/categories", depth - 1)
    return _numeric(model, plain, path, depth)


def _numeric(
    estimator: Estimator, columns: Sequence[ColumnEvidence], path: str, depth: int
) -> Tracked:
    inner = [part for part in _inner_estimators(estimator) if _width(part) == len(columns)]
    for part in inner:
        _walk(part, columns, path, depth - 1)
    if not inner:
        for column in columns:
            column.is_number = True
    return None


def _inner_estimators(estimator: Estimator) -> Iterable[Estimator]:
    if hasattr(estimator, "estimators_features_"):
        # Bagging over chosen features: the inner columns are others.
        return
    for name in _INNER:
        value = getattr(estimator, name, None)
        for part in list(value) if isinstance(value, (list, tuple)) else [value]:
            if hasattr(part, "get_params"):
                yield part


def _width(estimator: Estimator) -> Any:
    return getattr(estimator, "n_features_in_", None)


_Reader = Callable[[Estimator, Any, str, int], Tracked]
_READERS: Mapping[str, _Reader] = {
    "Pipeline": _pipeline,
    "ColumnTransformer": _column_transformer,
    "FeatureUnion": _feature_union,
    "OneHotEncoder": _encoder,
    "OrdinalEncoder": _encoder,
    "TargetEncoder": _encoder,
    "SimpleImputer": _imputer,
    "KNNImputer": _imputer,
    "IterativeImputer": _imputer,
    "MissingIndicator": _imputer,
    "FunctionTransformer": _transparent,
    "StandardScaler": _numeric_transparent,
    "MinMaxScaler": _numeric_transparent,
    "MaxAbsScaler": _numeric_transparent,
    "RobustScaler": _numeric_transparent,
    "PowerTransformer": _numeric_transparent,
    "QuantileTransformer": _numeric_transparent,
    "HistGradientBoostingClassifier": _histograms,
    "HistGradientBoostingRegressor": _histograms,
    **dict.fromkeys(VECTORIZERS, _vectorizer),
}
