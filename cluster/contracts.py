"""
The values that travel between Ingress, Loader and Predictor, and the model signature.

Plain frozen dataclasses: picklable, free of any framework but numpy, and never a secret inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ArtifactFormat = Literal["pickle", "joblib", "skops", "onnx"]
FeatureType = Literal["number", "integer", "string", "boolean", "datetime", "unknown"]
Method = Literal["predict", "predict_proba", "decision_function", "transform", "score_samples"]
#: What a caller may ask for, in the order in which a signature lists them.
METHODS: tuple[Method, ...] = (
    "predict",
    "predict_proba",
    "decision_function",
    "transform",
    "score_samples",
)
#: JSON-safe scalar: a class label, a category.
Scalar = str | int | float | bool | None
JsonObject = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature:
    """One input column as the estimator was fitted on it."""

    name: str
    type: FeatureType
    nullable: bool
    #: The values an encoder knows, where it refuses others; ``None`` where any value will do.
    categories: tuple[Scalar, ...] | None = None
    #: pandas/numpy dtype of the column that the estimator is given ("float64", "object", "str",
    #: "int64", "bool", "datetime64[ns]", "category"), so that the answer equals the training
    #: frame's.
    dtype: str = "float64"
    #: What a JSON null becomes: "nan", "none" (Python's None), "nat", "na" (pandas.NA).
    missing: Literal["nan", "none", "nat", "na"] = "nan"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What an owner allows one numeric feature to be, both ends included; ``None`` is open."""

    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputSpec:
    """What a method answers: V2 datatype (INT64, FP64, BYTES, BOOL) and shape, -1 for rows."""

    type: Literal["INT64", "FP64", "BYTES", "BOOL"]
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """What a version takes and gives; read from the fitted estimator at vetting."""

    kind: Literal["table", "text"]
    #: How the estimator is called: with a float64 matrix, an object array, a DataFrame, or a
    #: list of documents.
    container: Literal["matrix", "objects", "frame", "documents"]
    features: tuple[Feature, ...]
    methods: tuple[Method, ...]
    outputs: dict[str, OutputSpec]
    #: Class labels in the order of ``predict_proba``; a tuple of tuples for several outputs.
    classes: tuple[Any, ...] | None
    sklearn_version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionRef:
    """Everything a Loader or Predictor needs to know of a version; they never read the registry."""

    model_id: str
    version: int
    sha256: str
    size_bytes: int
    format: ArtifactFormat
    #: method -> engine chosen at vetting ("native", "linear", "trees", "onnx"); absent = native.
    engines: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Identity for affinity, coalescing and charges: ``<model id>/<version>``."""
        return f"{self.model_id}/{self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """
    Validated rows in the model's own column order.

    Exactly one of ``matrix`` and ``columns`` is set: ``matrix`` (rows, features) float64,
    C-contiguous, for container "matrix"; ``columns``, one 1-D array a feature, for "objects" and
    "frame" (dtypes as in ``Feature.dtype``, object where numpy has none), and a single object
    array of str for "documents".
    """

    rows: int
    matrix: NDArray[np.float64] | None = None
    columns: tuple[NDArray[Any], ...] | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of the arrays; object elements count as eight."""
        if self.matrix is not None:
            return int(self.matrix.nbytes)
        return sum(int(column.nbytes) for column in self.columns or ())

    def take(self, start: int, stop: int) -> "Batch":
        """Rows ``start`` to ``stop`` (exclusive) as a view."""
        if self.matrix is not None:
            return Batch(rows=stop - start, matrix=self.matrix[start:stop])
        columns = tuple(column[start:stop] for column in self.columns or ())
        return Batch(rows=stop - start, columns=columns)


def concatenate(batches: Sequence[Batch]) -> Batch:
    """One batch of all rows in order; the batches are of one version, hence of one layout."""
    if len(batches) == 1:
        return batches[0]
    rows = sum(batch.rows for batch in batches)
    if batches[0].matrix is not None:
        matrices = [batch.matrix for batch in batches if batch.matrix is not None]
        return Batch(rows=rows, matrix=np.concatenate(matrices))
    parts = zip(*(batch.columns or () for batch in batches), strict=True)
    return Batch(rows=rows, columns=tuple(np.concatenate(part) for part in parts))


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictCall:
    """One RPC to a Predictor: one version, one method, the rows of one or many requests."""

    version: VersionRef
    signature: Signature
    method: Method
    batch: Batch
    #: What is left of the most patient caller's deadline; a duration, since clocks of nodes differ.
    timeout_s: float
    #: The request ids that travel together, for the log.
    request_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictReply:
    """
    The answer of one RPC.

    ``values`` has one entry a row on its first axis: (rows,), (rows, outputs), (rows, classes);
    dense; labels as int64, float64, bool or object (str). For several outputs with
    ``predict_proba`` it is (rows,) of object, each element a list of per-output probability lists.
    """

    values: NDArray[Any]
    #: Seconds spent in the engine for the whole batch.
    cost_s: float
    engine: str
    replica_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Examples:
    """Rows the owner sent along: run at vetting, kept with the version, replayed by revet."""

    instances: list[Any]
    predictions: list[Any] | None = None
    method: Method = "predict"


@dataclass(frozen=True, kw_only=True, slots=True)
class VetRequest:
    """What the Loader must know of an upload beside its bytes."""

    sha256: str
    size_bytes: int
    #: Formats this uploader may send; pickle and joblib are a publisher's.
    allowed_formats: tuple[ArtifactFormat, ...]
    examples: Examples | None = None
    request_id: str = ""
    #: Canary rows and answers of the first vetting, to be repeated by a later one.
    recorded_canary: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledForm:
    """A version's arrays for the short path, stored beside its model by a digest of their own."""

    sha256: str
    size_bytes: int
    #: As ``engines.container`` packs them; empty once the Loader has stored them.
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class VetReport:
    """The verdict on an accepted file (a refused one raises UploadRefused)."""

    format: ArtifactFormat
    signature: Signature
    #: method -> engine
    engines: dict[str, str]
    #: method -> why a faster engine was not chosen
    engine_notes: dict[str, str]
    #: Measured at vetting: seconds for one row, by method.
    cost_per_row_s: dict[str, float]
    #: Memory the loaded estimator takes.
    memory_bytes: int
    #: Sentences for the 201 (another scikit-learn minor, parameters neutralised…).
    warnings: tuple[str, ...] = ()
    #: Canary rows and answers, kept to compare with after an upgrade or a restore (JSON-safe).
    canary: JsonObject = field(default_factory=dict)
    #: Loader and library versions the verdict holds for.
    libraries: dict[str, str] = field(default_factory=dict)
    #: Where the short path may answer some method.
    compiled: CompiledForm | None = None
    #: Seconds of the vetting that went into comparing compiled with original answers.
    parity_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxState:
    """Which layers of the vetting sandbox this kernel gives."""

    landlock_abi: int
    seccomp: bool
    rlimits: bool

    @property
    def is_whole(self) -> bool:
        """True where pickle and joblib may be taken in."""
        return self.landlock_abi > 0 and self.seccomp and self.rlimits


@dataclass(frozen=True, kw_only=True, slots=True)
class LoaderStatus:
    """What /health/detailed shows of a Loader."""

    sandbox: SandboxState
    storage_ok: bool
    storage_free_bytes: int
    storage_total_bytes: int
