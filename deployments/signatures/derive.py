"""
The signature of a fitted estimator: what it takes and gives, read from its parts and tried once.

Attributes tell names, types and categories; single rows tell the rest: whether a column takes
null, whether a plain matrix gives the same answers as a DataFrame, and what each method answers.
"""

from collections.abc import Sequence
from dataclasses import replace

from cluster.contracts import Batch, Feature, Method, Signature
from cluster.errors import UploadRefused
from deployments.engines.base import Estimator
from deployments.engines.onnx import OnnxModel
from deployments.signatures.column_specs import feature_names
from deployments.signatures.containers import matrix_if_equal
from deployments.signatures.derive_onnx import derive_onnx_signature
from deployments.signatures.evidence import ColumnEvidence, read_evidence
from deployments.signatures.features import draft_feature, groups_of
from deployments.signatures.outputs import class_labels, library_version, method_outputs
from deployments.signatures.probing import Prober, typical_like, widened
from deployments.signatures.roots import (
    available_methods,
    check_input_kind,
    check_root,
    first_steps,
    is_text_model,
    refuse_unfitted,
)

#: More columns than this are no model for single rows over HTTP.
MAX_FEATURES = 100_000


def derive_signature(estimator: object) -> Signature:
    """
    What the estimator, or an ``OnnxModel``, takes and gives.

    Raises:
        UploadRefused: It is not one fitted estimator with a servable method, or no row that its
            parts allow gets an answer; context ``reason`` is root, other_library, unfitted,
            no_method, input_kind, features or canary.
    """
    if isinstance(estimator, OnnxModel):
        return derive_onnx_signature(estimator)
    root = check_root(estimator)
    check_input_kind(root)
    methods = available_methods(root)
    if is_text_model(root):
        return _completed(root, _text_signature(root, methods))
    width = _width(root)
    evidence = read_evidence(root, width)
    names = _names(root)
    features = tuple(
        draft_feature(name, column, is_frame=names is not None)
        for name, column in zip(feature_names(names, width), evidence, strict=True)
    )
    container = "frame" if names is not None else _plain_container(features)
    draft = _draft(root, methods, features, container)
    return _completed(root, draft, evidence)


def _draft(
    root: Estimator, methods: tuple[Method, ...], features: tuple[Feature, ...], container: str
) -> Signature:
    return Signature(
        kind="text" if container == "documents" else "table",
        container=container,  # type: ignore[arg-type]  # one of the four, by construction
        features=features,
        methods=methods,
        outputs={},
        classes=class_labels(root),
        sklearn_version=library_version(root),
    )


def _text_signature(root: Estimator, methods: tuple[Method, ...]) -> Signature:
    text = Feature(name="text", type="string", nullable=False, dtype="object", missing="none")
    return _draft(root, methods, (text,), "documents")


def _plain_container(features: Sequence[Feature]) -> str:
    numeric = all(feature.dtype in {"float64", "int64", "bool"} for feature in features)
    return "matrix" if numeric else "objects"


def _completed(
    root: Estimator, draft: Signature, evidence: Sequence[ColumnEvidence] = ()
) -> Signature:
    prober = Prober(root, draft.methods[0])
    signature, row = _answered(root, prober, draft, evidence)
    if evidence:
        signature = _with_nulls(prober, signature, row, evidence)
        signature = matrix_if_equal(root, signature)
        row = typical_like(signature, row)
    outputs = method_outputs(root, signature, row)
    methods = tuple(method for method in signature.methods if method in outputs)
    return replace(signature, outputs=outputs, methods=methods)


def _answered(
    root: Estimator, prober: Prober, draft: Signature, evidence: Sequence[ColumnEvidence]
) -> tuple[Signature, Batch]:
    """The draft, its untold types settled, with a row that gets an answer."""
    for candidate in _candidates(draft, evidence):
        row = prober.find_typical(candidate)
        if row is not None:
            return candidate, row
    if prober.library_text.startswith("NotFittedError"):
        refuse_unfitted(root)
    raise UploadRefused(
        f"the {type(root).__name__} raised in {draft.methods[0]} on every row that was tried; "
        "check that it predicts a single row after it is loaded in a new process, or send "
        "examples along",
        gate="gate4",
        reason="canary",
        name=f"{type(root).__module__}.{type(root).__qualname__}",
        library_text=prober.library_text,
    )


def _candidates(draft: Signature, evidence: Sequence[ColumnEvidence]) -> list[Signature]:
    """The draft, then each group of columns of untold type as strings, then all of them."""
    untold = [index for index, column in enumerate(evidence) if not column.is_known]
    groups = groups_of(evidence, untold)
    candidates = [draft]
    if untold:
        trials = [*groups, untold] if len(groups) > 1 else [untold]
        candidates += [_as_strings(draft, indices) for indices in trials]
    if draft.container == "matrix":
        # An estimator of strings without categories, fitted on an object array.
        candidates.append(_as_strings(draft, list(range(len(draft.features)))))
    return candidates


def _as_strings(draft: Signature, indices: Sequence[int]) -> Signature:
    chosen = set(indices)
    features = tuple(
        replace(feature, type="string", dtype="object", categories=None)
        if index in chosen
        else feature
        for index, feature in enumerate(draft.features)
    )
    container = "objects" if draft.container == "matrix" else draft.container
    return replace(draft, features=features, container=container)


def _with_nulls(
    prober: Prober, signature: Signature, row: Batch, evidence: Sequence[ColumnEvidence]
) -> Signature:
    indices = list(range(len(signature.features)))
    nullable = prober.nullable(signature, row, groups_of(evidence, indices))
    features = tuple(
        widened(replace(feature, nullable=True)) if index in nullable else feature
        for index, feature in enumerate(signature.features)
    )
    return replace(signature, features=features)


def _width(root: Estimator) -> int:
    """Columns of the training table."""
    for candidate in (root, *first_steps(root)):
        width = getattr(candidate, "n_features_in_", None)
        if isinstance(width, int) and 0 < width <= MAX_FEATURES:
            return width
    if hasattr(root, "X_min_"):
        # IsotonicRegression is fitted on one column and says so nowhere.
        return 1
    if hasattr(root, "__sklearn_tags__") and not root.__sklearn_tags__().requires_fit:
        # A stateless transformer passes for fitted before it has seen a table.
        refuse_unfitted(root)
    raise UploadRefused(
        f"the {type(root).__name__} does not say how many columns it was fitted on "
        f"(1 to {MAX_FEATURES:,}); fit it on a table and save it again",
        gate="signature",
        reason="features",
    )


def _names(root: Estimator) -> Sequence[object] | None:
    for candidate in (root, *first_steps(root)):
        names = getattr(candidate, "feature_names_in_", None)
        if names is not None and len(names) == _width(root):
            return list(names)
    return None
