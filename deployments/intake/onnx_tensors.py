"""ONNX tensors: their bytes are in the file and as many as their shape says."""

from typing import Any

import onnx

from deployments.intake.limits import Limits
from deployments.intake.refusals import refusal

_ITEM_BYTES = {
    onnx.TensorProto.FLOAT: 4,
    onnx.TensorProto.UINT8: 1,
    onnx.TensorProto.INT8: 1,
    onnx.TensorProto.UINT16: 2,
    onnx.TensorProto.INT16: 2,
    onnx.TensorProto.INT32: 4,
    onnx.TensorProto.INT64: 8,
    onnx.TensorProto.BOOL: 1,
    onnx.TensorProto.FLOAT16: 2,
    onnx.TensorProto.DOUBLE: 8,
    onnx.TensorProto.UINT32: 4,
    onnx.TensorProto.UINT64: 8,
}
_TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
_MAX_ELEMENTS = 1 << 40


class TensorBudget:
    """Bytes of all tensors met so far."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0

    def check(self, tensor: Any) -> None:
        """
        Refuse external data, unknown types and shapes that the bytes do not fill.

        Raises:
            UploadRefused: gate2, reason "onnx".
        """
        if tensor.data_location != onnx.TensorProto.DEFAULT or tensor.external_data:
            raise _refused("keeps weights outside the file")
        if tensor.HasField("segment"):
            raise _refused("holds a weight in pieces")
        count = 1
        for length in tensor.dims:
            if length < 0:
                raise _refused("has a negative length")
            count = min(count * length, _MAX_ELEMENTS)
        if tensor.data_type == onnx.TensorProto.STRING:
            self._spend(sum(len(text) for text in tensor.string_data))
            self._need(len(tensor.string_data), count)
            return
        item = _ITEM_BYTES.get(tensor.data_type)
        if item is None:
            raise _refused("holds a weight of an unusual type")
        self._spend(count * item)
        if tensor.raw_data:
            self._need(len(tensor.raw_data), count * item)
        else:
            self._need(sum(len(getattr(tensor, field)) for field in _TYPED), count)

    def _need(self, found: int, wanted: int) -> None:
        if found != wanted:
            raise _refused("has a shape that its bytes do not fill")

    def _spend(self, count: int) -> None:
        self._bytes += count
        if self._bytes > self._limits.max_array_bytes:
            raise _refused(f"holds more than {self._limits.max_array_bytes} bytes of weights")


def _refused(what: str) -> Exception:
    return refusal(
        f"gate2: the ONNX model {what}: export it again with all weights inside the file",
        gate="gate2",
        reason="onnx",
    )
