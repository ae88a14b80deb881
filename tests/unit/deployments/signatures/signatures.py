"""Signatures that the tests of this folder decode against."""

from cluster.contracts import Feature, OutputSpec, Signature


def matrix_signature(
    width: int = 4, *, nullable: bool = False, names: tuple[str, ...] = ()
) -> Signature:
    """A float64 matrix of ``width`` columns, as an estimator fitted on an array has it."""
    names = names or tuple(f"x{index}" for index in range(width))
    features = tuple(Feature(name=name, type="number", nullable=nullable) for name in names)
    return _signature("matrix", features)


def frame_signature(*features: Feature) -> Signature:
    """Columns of a DataFrame."""
    return _signature("frame", features)


def text_signature() -> Signature:
    """One column of documents."""
    feature = Feature(name="text", type="string", nullable=False, dtype="object")
    signature = _signature("frame", (feature,))
    return Signature(
        kind="text",
        container="documents",
        features=signature.features,
        methods=signature.methods,
        outputs=signature.outputs,
        classes=None,
        sklearn_version=signature.sklearn_version,
    )


def _signature(container: str, features: tuple[Feature, ...]) -> Signature:
    return Signature(
        kind="table",
        container="matrix" if container == "matrix" else "frame",
        features=features,
        methods=("predict",),
        outputs={"predict": OutputSpec(type="FP64", shape=(-1,))},
        classes=None,
        sklearn_version="1.9.1",
    )
