"""An infer request: its JSON, and the raw tensors that follow it in the binary extension."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cluster.contracts import JsonObject
from cluster.errors import InvalidInput
from cluster.request_errors import MalformedJson
from deployments.signatures.faults import refuse
from serve_app.api.prediction_json import parse_object, refuse_unknown
from serve_app.open_inference.tensors import DATATYPES, Tensor

_MEMBERS = frozenset({"id", "parameters", "inputs", "outputs"})
_INPUT_MEMBERS = frozenset({"name", "shape", "datatype", "parameters", "data"})
_OUTPUT_MEMBERS = frozenset({"name", "parameters"})
_MOST_DIMENSIONS = 2
_MOST_HEADER_DIGITS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedOutput:
    """An output that was asked for: a method, and how its values are to travel."""

    name: str
    is_binary: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class InferRequest:
    """What an infer request says, before the model is known."""

    id: str | None
    inputs: tuple[Tensor, ...]
    #: Empty: the caller takes the model's main method.
    outputs: tuple[WantedOutput, ...]
    #: How an output travels that does not say so itself.
    is_binary: bool


def parse_infer(body: bytes | bytearray, header_length: bytes | None) -> InferRequest:
    """
    The request in ``body``.

    Args:
        body: The whole body, uncompressed.
        header_length: Value of Inference-Header-Content-Length; ``None`` if the body is all JSON.

    Raises:
        InvalidInput: Naming what is wrong.
    """
    view = memoryview(body)
    length = len(view) if header_length is None else _header_length(header_length, len(view))
    document = parse_object(view[:length])
    refuse_unknown(document, _MEMBERS)
    parameters = _parameters(document, "")
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise refuse("/id", "wrong_type", "id must be a string")
    is_binary = parameters.get("binary_data_output") is True
    return InferRequest(
        id=request_id,
        inputs=_inputs(document, view[length:]),
        outputs=_outputs(document, is_binary=is_binary),
        is_binary=is_binary,
    )


def _header_length(value: bytes, size: int) -> int:
    if not value.isdigit() or len(value) > _MOST_HEADER_DIGITS or int(value) > size:
        raise MalformedJson(
            "Inference-Header-Content-Length must be the length of the JSON at the body's start"
        )
    if int(value) == 0:
        raise InvalidInput("a raw request without JSON is not taken: describe the tensor in JSON")
    return int(value)


def _inputs(document: JsonObject, raw: memoryview) -> tuple[Tensor, ...]:
    listed = _objects(document, "inputs")
    if not listed:
        raise refuse("/inputs", "missing_member", "inputs must name at least one tensor")
    inputs: list[Tensor] = []
    offset = 0
    for index, described in enumerate(listed):
        path = f"/inputs/{index}"
        refuse_unknown(described, _INPUT_MEMBERS, path, "an input")
        size = _parameters(described, path).get("binary_data_size")
        if size is None:
            inputs.append(_tensor(described, path, raw=None))
            continue
        if type(size) is not int or not 0 <= size <= len(raw) - offset:
            said = "binary_data_size is not a number of bytes that follow the JSON"
            raise refuse(f"{path}/parameters/binary_data_size", "wrong_size", said)
        inputs.append(_tensor(described, path, raw=raw[offset : offset + size]))
        offset += size
    if offset != len(raw):
        said = f"{len(raw) - offset} bytes after the JSON belong to no input"
        raise refuse("/inputs", "wrong_size", said)
    return tuple(inputs)


def _tensor(described: JsonObject, path: str, *, raw: memoryview | None) -> Tensor:
    name, datatype = described.get("name"), described.get("datatype")
    if not isinstance(name, str) or not name:
        raise refuse(f"{path}/name", "wrong_type", "an input's name must be a string")
    if datatype not in DATATYPES:
        takes = ", ".join(sorted(DATATYPES))
        raise refuse(
            f"{path}/datatype", "wrong_type", f"input {name!r}: datatype is one of {takes}"
        )
    data = described.get("data")
    if (raw is None) != isinstance(data, list):
        said = f"input {name!r} needs either a list as data or a binary_data_size, not both"
        raise refuse(f"{path}/data", "wrong_type", said)
    return Tensor(
        name=name,
        datatype=str(datatype),
        shape=_shape(described.get("shape"), name, path),
        path=path,
        data=data,
        raw=raw,
    )


def _shape(shape: Any, name: str, path: str) -> tuple[int, ...]:
    is_shape = isinstance(shape, list) and 1 <= len(shape) <= _MOST_DIMENSIONS
    if not is_shape or any(type(size) is not int or size < 0 for size in shape):
        said = f"input {name!r}: shape must be [rows] or [rows, features]"
        raise refuse(f"{path}/shape", "wrong_shape", said)
    return tuple(shape)


def _outputs(document: JsonObject, *, is_binary: bool) -> tuple[WantedOutput, ...]:
    wanted: list[WantedOutput] = []
    for index, described in enumerate(_objects(document, "outputs")):
        path = f"/outputs/{index}"
        refuse_unknown(described, _OUTPUT_MEMBERS, path, "an output")
        name = described.get("name")
        if not isinstance(name, str):
            raise refuse(f"{path}/name", "wrong_type", "an output's name must be a string")
        if any(name == other.name for other in wanted):
            raise refuse(f"{path}/name", "duplicate", f"output {name!r} is asked for twice")
        own = _parameters(described, path).get("binary_data")
        is_own_binary = own if isinstance(own, bool) else is_binary
        wanted.append(WantedOutput(name=name, is_binary=is_own_binary))
    return tuple(wanted)


def _objects(document: JsonObject, member: str) -> Sequence[JsonObject]:
    listed = document.get(member, [])
    if listed is None:
        return []
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise refuse(f"/{member}", "wrong_type", f"{member} must be a list of objects")
    return listed


def _parameters(described: JsonObject, path: str) -> JsonObject:
    # Clients send parameters of other servers; those unknown to us are let be.
    parameters = described.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise refuse(f"{path}/parameters", "wrong_type", "parameters must be an object")
    return parameters
