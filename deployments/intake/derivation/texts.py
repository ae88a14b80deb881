"""Variants that take documents or dictionaries."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.decomposition import NMF, LatentDirichletAllocation, TruncatedSVD
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import FeatureUnion, make_pipeline

from deployments.intake.derivation.specimen import Specimen, fitted

DOCUMENTS = [
    "the launch of the rocket was delayed by weather",
    "the orbit of the moon and the rocket engine",
    "a new goalkeeper saved the match for the team",
    "the team lost the hockey match in overtime",
] * 6
TOPICS = np.array(["space", "space", "sport", "sport"] * 6)


def texts() -> Iterator[Specimen]:
    """Vectorizers in their usual settings, alone and before a model."""
    vectorizers: dict[str, Any] = {
        "plain": CountVectorizer(),
        "ngrams": CountVectorizer(ngram_range=(1, 2), stop_words="english", max_features=20),
        "characters": CountVectorizer(analyzer="char_wb", ngram_range=(2, 3), binary=True),
        "vocabulary": CountVectorizer(vocabulary=["rocket", "match"]),
        "words": CountVectorizer(stop_words=["the", "a"], strip_accents="unicode", dtype=np.int32),
        "tfidf": TfidfVectorizer(sublinear_tf=True, min_df=2, max_df=0.9),
        "float32": TfidfVectorizer(dtype=np.float32, norm="l1", use_idf=False),
        "hashing": HashingVectorizer(n_features=64, alternate_sign=False),
        "case": CountVectorizer(lowercase=False, token_pattern=r"[a-z]+"),  # noqa: S106 - no password
        "blanks": CountVectorizer(token_pattern=r"\S+"),  # noqa: S106 - no password
    }
    for note, vectorizer in vectorizers.items():
        yield fitted(vectorizer, DOCUMENTS, note=note)
    models: dict[str, Any] = {
        "logistic": make_pipeline(TfidfVectorizer(), LogisticRegression()),
        "bayes": make_pipeline(CountVectorizer(), TfidfTransformer(), MultinomialNB()),
        "hashing": make_pipeline(HashingVectorizer(n_features=64), SGDClassifier(random_state=0)),
        "svd": make_pipeline(TfidfVectorizer(), TruncatedSVD(3, random_state=0)),
        "topics": make_pipeline(CountVectorizer(), LatentDirichletAllocation(2, random_state=0)),
        "nmf": make_pipeline(TfidfVectorizer(), NMF(2, random_state=0)),
        "union": make_pipeline(
            FeatureUnion(
                [("words", TfidfVectorizer()), ("char", CountVectorizer(analyzer="char"))]
            ),
            LogisticRegression(),
        ),
    }
    for note, model in models.items():
        yield fitted(model, DOCUMENTS, TOPICS, note=f"text-{note}")
    records = [{"age": 3, "city": "Ulm"}, {"age": 5, "city": "Bonn"}] * 4
    yield fitted(DictVectorizer(), records, note="records")
    yield fitted(DictVectorizer(sparse=False, sort=False, dtype=np.float32), records, note="dense")
    yield fitted(FeatureHasher(16), records, note="records")
