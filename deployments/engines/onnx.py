"""
ONNX Runtime as an engine, for models of any library that exports to ONNX.

Imported lazily and on one thread.  That a file names no external data and no custom operators is
for the intake to see to; here the bytes are all there is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import Batch, Method, Signature
from cluster.errors import InvalidInput, PlatformError, PredictionFailed, UploadRefused
from deployments.engines.base import Values
from deployments.engines.failures import refuse_non_finite
from deployments.engines.onnx_roles import Port, output_roles
from deployments.engines.plain_values import plain_values

#: A session keeps the graph, its initialisers and an arena beside the file's bytes.
_MEMORY_FACTOR = 3
_SESSION_BYTES = 2 * 1024 * 1024
_FATAL_ONLY = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxModel:
    """An uploaded ONNX file that the intake has looked through."""

    content: bytes


def open_session(model: OnnxModel) -> Any:
    """
    An ``onnxruntime.InferenceSession`` on one thread.

    Raises:
        UploadRefused: ONNX Runtime cannot run the graph.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    try:
        return ort.InferenceSession(model.content, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # its errors share no base class but Exception
        raise UploadRefused(
            "ONNX Runtime cannot run this graph; export it for an earlier opset, with operators "
            "of the domains ai.onnx and ai.onnx.ml alone",
            gate="onnx",
            reason="onnx",
            library_text=str(exc)[:2000],
        ) from exc


class OnnxEngine:
    """A session behind the ``Engine`` protocol."""

    name = "onnx"

    def __init__(self, model: OnnxModel, signature: Signature) -> None:
        self._session = open_session(model)
        self._inputs = [Port.of(port) for port in self._session.get_inputs()]
        self._roles = output_roles([Port.of(port) for port in self._session.get_outputs()])
        self._classes = signature.classes
        self.methods: frozenset[Method] = frozenset(self._roles)
        self.memory_bytes = _SESSION_BYTES + _MEMORY_FACTOR * len(model.content)

    def run(self, method: Method, batch: Batch) -> Values:
        """
        Answer all rows of a batch.

        Raises:
            PredictionFailed: ONNX Runtime raised, or a number exceeds the graph's precision.
        """
        if method not in self._roles:
            raise InvalidInput(f"this model has no method {method!r}")
        feeds = self._feeds(method, batch)
        try:
            raw = self._answers(self._roles[method].name, feeds, batch.rows)
            return self._shaped(method, raw, batch.rows)
        except PlatformError:
            raise
        except Exception as exc:  # its errors share no base class but Exception
            raise PredictionFailed(
                f"the model raised in {method}; its owner finds the reason in the log",
                method=method,
                library_text=f"{type(exc).__name__}: {exc}"[:2000],
            ) from exc

    def _answers(self, output: str, feeds: dict[str, NDArray[Any]], rows: int) -> Any:
        if self._inputs[0].rows != 1 or rows == 1:
            return self._session.run([output], feeds)[0]
        # A graph exported for a single row answers rows one after another.
        parts = [
            self._session.run([output], {name: v[row : row + 1] for name, v in feeds.items()})[0]
            for row in range(rows)
        ]
        if isinstance(parts[0], list):
            return [item for part in parts for item in part]
        return np.concatenate(parts)

    def _feeds(self, method: Method, batch: Batch) -> dict[str, NDArray[Any]]:
        columns = _columns(batch)
        if len(self._inputs) > 1:
            pairs = zip(self._inputs, columns, strict=True)
            tensors = [(port, column.reshape(-1, 1)) for port, column in pairs]
        else:
            whole = batch.matrix if batch.matrix is not None else np.stack(columns, axis=1)
            tensors = [(self._inputs[0], whole)]
        return {port.name: _cast(method, port, tensor) for port, tensor in tensors}

    def _shaped(self, method: Method, raw: Any, rows: int) -> Values:
        if isinstance(raw, list) and raw and isinstance(raw[0], dict):
            # ZipMap: one map a row from label to probability.
            labels = self._classes or tuple(raw[0])
            raw = np.array([[row[label] for label in labels] for row in raw], dtype=np.float64)
        values = plain_values(method, raw, rows)
        if method == "predict" and values.ndim == 2 and values.shape[1] == 1:  # noqa: PLR2004
            return values[:, 0]
        return values


def _columns(batch: Batch) -> Sequence[NDArray[Any]]:
    if batch.matrix is not None:
        return list(batch.matrix.T)
    return batch.columns or ()


def _cast(method: Method, port: Port, tensor: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(tensor, dtype=port.dtype)
    if port.dtype == "float32" and np.isinf(cast).any():
        refuse_non_finite(method, np.where(np.isnan(cast), 0.0, cast))
    return cast
