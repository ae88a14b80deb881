"""Predictions as the output tensors of an infer response, in JSON or in binary."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from cluster.contracts import JsonObject
from cluster.errors import InvalidInput, NonFiniteOutput, TooLarge
from serve_app.inference import Prediction
from serve_app.open_inference.tensors import bytes_of

_DATATYPES = {"i": "INT64", "u": "UINT64", "b": "BOOL", "f": "FP64"}
_WIRE = {
    "INT64": np.dtype("<i8"),
    "UINT64": np.dtype("<u8"),
    "BOOL": np.dtype("?"),
    "FP64": np.dtype("<f8"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class InferResponse:
    """The body and, where raw tensors follow, the length of the JSON before them."""

    body: bytes
    header_length: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Output:
    name: str
    datatype: str
    values: NDArray[Any]


def encode_infer(
    predictions: Sequence[tuple[Prediction, bool]], request_id: str | None, max_bytes: int
) -> InferResponse:
    """
    The response; the flag beside each prediction says whether it travels in binary.

    Raises:
        NonFiniteOutput: A number is NaN or infinite and JSON was asked for.
        TooLarge: The answer would be larger than ``max_bytes``.
    """
    if sum(prediction.values.nbytes for prediction, _ in predictions) > max_bytes:
        raise _too_large(max_bytes)
    resolved = predictions[0][0].resolved
    raws: list[bytes] = []
    described = [
        _described(_output(prediction), raws if is_binary else None)
        for prediction, is_binary in predictions
    ]
    answer: JsonObject = {
        "model_name": resolved.model_name,
        "model_version": str(resolved.ref.version),
        "outputs": described,
    }
    if request_id is not None:
        answer["id"] = request_id
    header = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    body = b"".join([header, *raws]) if raws else header
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    has_binary = any(is_binary for _, is_binary in predictions)
    return InferResponse(body=body, header_length=len(header) if has_binary else None)


def _output(prediction: Prediction) -> _Output:
    values, name = prediction.values, prediction.method
    if values.dtype.kind == "O" and len(values) and isinstance(values[0], list | np.ndarray):
        values = _stacked(values, name)
    datatype = _DATATYPES.get(values.dtype.kind, "BYTES")
    if datatype != "BYTES":
        values = values.astype(_WIRE[datatype], copy=False)
    return _Output(name=name, datatype=datatype, values=values)


def _stacked(values: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Probabilities of several outputs as one tensor, where they have equally many classes."""
    try:
        return np.array(values.tolist(), dtype=np.float64)
    except ValueError:
        raise InvalidInput(
            f"the outputs of {name} have different numbers of classes, hence no tensor: "
            "use /api/v1/models/{model}/predict"
        ) from None


def _described(output: _Output, raws: list[bytes] | None) -> JsonObject:
    described: JsonObject = {
        "name": output.name,
        "datatype": output.datatype,
        "shape": list(output.values.shape),
    }
    if raws is not None:
        raw = _raw(output)
        described["parameters"] = {"binary_data_size": len(raw)}
        raws.append(raw)
        return described
    if output.datatype == "FP64" and not np.isfinite(output.values).all():
        raise NonFiniteOutput(
            f"{output.name} answered NaN or an infinity, which JSON cannot say: ask for "
            "binary_data, or use /api/v1"
        )
    described["data"] = _listed(output)
    return described


def _listed(output: _Output) -> Any:
    flat = output.values.ravel()
    return [str(value) for value in flat] if output.datatype == "BYTES" else flat.tolist()


def _raw(output: _Output) -> bytes:
    if output.datatype == "BYTES":
        return bytes_of([str(value) for value in output.values.ravel()])
    return output.values.tobytes()


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the answer would exceed {max_bytes} bytes: send fewer rows at a time")
