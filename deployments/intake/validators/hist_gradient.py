"""Histogram gradient boosting: nodes, category bitsets and the columns of its preprocessor."""

from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble._hist_gradient_boosting.common import (
    PREDICTOR_RECORD_DTYPE,
)
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import (
    BaseHistGradientBoosting,
)
from sklearn.ensemble._hist_gradient_boosting.predictor import (
    TreePredictor,
)
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

from deployments.intake.refusals import refusal
from deployments.intake.validators.trees import check_children

_BITSET_WORDS = 8


def wrong(what: str) -> Exception:
    """The refusal of a histogram tree that compiled code must not walk."""
    return refusal(
        f"gate3: a histogram tree {what}: the file is damaged or was altered, save the model again",
        gate="gate3",
        reason="native",
    )


def check_predictor(predictor: Any) -> None:
    """Children, leaves and bitset rows of one tree are in range."""
    attributes = predictor.__dict__
    nodes = attributes.get("nodes")
    good = type(nodes) is np.ndarray and nodes.dtype == PREDICTOR_RECORD_DTYPE and nodes.ndim == 1
    if not good or len(nodes) == 0:
        raise wrong("has nodes of another type, as from another scikit-learn version")
    is_leaf = nodes["is_leaf"] != 0
    left = np.where(is_leaf, -1, nodes["left"].astype(np.int64))
    right = np.where(is_leaf, -1, nodes["right"].astype(np.int64))
    check_children(left, right, wrong)
    raw = attributes.get("raw_left_cat_bitsets")
    good = (
        type(raw) is np.ndarray
        and raw.dtype == np.uint32
        and raw.ndim == 2  # noqa: PLR2004 - rows of words
        and raw.shape[1] == _BITSET_WORDS
    )
    splits = nodes[~is_leaf & (nodes["is_categorical"] != 0)]
    if not good or (len(splits) and int(splits["bitset_idx"].max()) >= len(raw)):
        raise wrong("names a set of categories that does not exist")


def check_model(model: Any) -> None:
    """Every tree of the model splits on its features, and on categories only where there are."""
    attributes = model.__dict__
    if "_predictors" not in attributes:
        return
    features, mapper = attributes.get("n_features_in_", -1), attributes.get("_bin_mapper")
    categories = getattr(mapper, "is_categorical_", None)
    if type(categories) is not np.ndarray or categories.shape != (features,):
        raise wrong("model has no list of its categorical features")
    is_categorical = categories.astype(bool)
    for iteration in attributes["_predictors"]:
        for predictor in iteration:
            if type(predictor) is not TreePredictor:
                raise wrong("is none")
            _check_features(predictor.nodes, features, is_categorical)
    _check_preprocessor(attributes.get("_preprocessor"), features)


def _check_features(nodes: Any, features: int, is_categorical: Any) -> None:
    splits = nodes[nodes["is_leaf"] == 0]
    used = splits["feature_idx"]
    if not used.size:
        return
    if int(used.min()) < 0 or int(used.max()) >= features:
        raise wrong("splits on a feature that does not exist")
    by_category = used[splits["is_categorical"] != 0]
    if by_category.size and not bool(is_categorical[by_category].all()):
        raise wrong("splits a plain feature by category")


def _check_preprocessor(preprocessor: Any, features: int) -> None:
    """It must give back as many columns as it takes: an encoder and an identity, side by side."""
    if preprocessor is None:
        return
    parts = getattr(preprocessor, "transformers_", None)
    if type(preprocessor) is not ColumnTransformer or type(parts) is not list:
        raise wrong("model prepares its columns in an unknown way")
    width = 0
    for _, transformer, columns in parts:
        mask = np.asarray(columns)
        if mask.dtype != bool or mask.shape != (features,):
            raise wrong("model prepares other columns than it has")
        chosen = int(mask.sum())
        if (type(transformer) is OrdinalEncoder and len(transformer.categories_) == chosen) or type(
            transformer
        ) is FunctionTransformer:
            width += chosen
    if width != features:
        raise wrong("model prepares other columns than it has")


RULES = (((TreePredictor,), check_predictor), ((BaseHistGradientBoosting,), check_model))
