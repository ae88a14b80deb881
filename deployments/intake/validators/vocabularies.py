"""
Vectorizers, encoders and hashers: columns that go into a sparse matrix without a look.

scipy checks such indices only when asked, and a product with them reads what they point at.
"""

from typing import Any

import numpy as np
from sklearn.compose import make_column_selector
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.preprocessing import MultiLabelBinarizer, OneHotEncoder

from deployments.intake.refusals import refusal
from deployments.intake.validators.distances import wrong_native
from deployments.intake.validators.patterns import check_pattern

_MAX_HASHED = (1 << 31) - 1


def check_vocabulary(vectorizer: Any) -> None:
    """``vocabulary_`` maps each term to its own column, 0 to n - 1."""
    vocabulary = vectorizer.__dict__.get("vocabulary_")
    if vocabulary is None:
        return
    if type(vocabulary) is not dict:
        raise wrong_native("a vocabulary is no dictionary")
    columns = list(vocabulary.values())
    if not all(type(column) is int or isinstance(column, np.integer) for column in columns):
        raise wrong_native("a vocabulary has a column that is no number")
    flags = np.zeros(len(columns), dtype=bool)
    numbers = np.asarray(columns, dtype=np.int64)
    if numbers.size and (numbers.min() < 0 or numbers.max() >= len(columns)):
        raise wrong_native("a vocabulary has a column out of range")
    flags[numbers] = True
    if not flags.all():
        raise wrong_native("a vocabulary has one column for two terms")


def check_patterns(vectorizer: Any) -> None:
    """The token pattern ends in time on any text."""
    pattern = vectorizer.__dict__.get("token_pattern")
    if pattern is not None:
        check_pattern(pattern)


def check_input(vectorizer: Any) -> None:
    """Documents are the text itself: a vectorizer that opens files would read the server's."""
    if vectorizer.__dict__.get("input", "content") != "content":
        raise refusal(
            "gate3: a vectorizer has input='filename' or 'file', which would read files of the "
            "server: fit it with input='content' and send the text",
            gate="gate3",
            reason="parameter",
        )


def drop_cache(binarizer: Any) -> None:
    """The column of each label is worked out again from ``classes_``, never taken from a file."""
    if "_cached_dict" in binarizer.__dict__:
        binarizer.__dict__["_cached_dict"] = None


def check_selector(selector: Any) -> None:
    """The pattern of a column selector ends in time on any name."""
    pattern = selector.__dict__.get("pattern")
    if pattern is not None:
        check_pattern(pattern)


def check_hasher(hasher: Any) -> None:
    """The number of columns is one that the compiled hash can divide by."""
    count = hasher.__dict__.get("n_features", 1)
    is_whole = type(count) is int or isinstance(count, np.integer)
    if not is_whole or not 1 <= count <= _MAX_HASHED:
        raise wrong_native("a hasher has an impossible number of columns")


def check_encoder(encoder: Any) -> None:
    """One-hot columns: as many as categories, less what is dropped or grouped."""
    attributes = encoder.__dict__
    categories = attributes.get("categories_")
    if categories is None:
        return
    outputs = attributes.get("_n_features_outs")
    if type(categories) is not list or type(outputs) is not list or len(outputs) != len(categories):
        raise wrong_native("an encoder has other columns than features")
    dropped = attributes.get("_drop_idx_after_grouping")
    is_grouping = attributes.get("_infrequent_enabled") is True
    groups = attributes.get("_infrequent_indices") if is_grouping else None
    mappings = attributes.get("_default_to_infrequent_mappings") if is_grouping else None
    for number, (known, count) in enumerate(zip(categories, outputs, strict=True)):
        width = _width(known, groups, mappings, number)
        if dropped is not None and dropped[number] is not None:
            if not 0 <= int(dropped[number]) < width:
                raise wrong_native("an encoder drops a category that does not exist")
            width -= 1
        if count != width:
            raise wrong_native("an encoder has other columns than categories")


def _width(known: Any, groups: Any, mappings: Any, number: int) -> int:
    """Columns of one feature before the dropped one is taken off."""
    if not isinstance(known, np.ndarray) or known.ndim != 1:
        raise wrong_native("an encoder's categories are no flat array")
    group = None if groups is None else groups[number]
    if group is None:
        return len(known)
    mapping: Any = None if mappings is None else mappings[number]
    width = len(known) - len(group) + 1
    good = isinstance(mapping, np.ndarray) and mapping.shape == (len(known),)
    if not good or int(mapping.min()) < 0 or int(mapping.max()) >= width:
        raise wrong_native("an encoder groups categories that do not exist")
    return width


RULES = (
    ((CountVectorizer, DictVectorizer), check_vocabulary),
    ((CountVectorizer, HashingVectorizer), check_patterns),
    ((CountVectorizer, HashingVectorizer), check_input),
    ((MultiLabelBinarizer,), drop_cache),
    ((FeatureHasher, HashingVectorizer), check_hasher),
    ((make_column_selector,), check_selector),
    ((OneHotEncoder,), check_encoder),
)
