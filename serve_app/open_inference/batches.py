"""Input tensors to a ``Batch``: one tensor of rows under any name, or one a feature by its name."""

from collections.abc import Mapping, Sequence

from cluster.contracts import Batch, Bounds, Signature
from deployments.signatures.faults import refuse
from deployments.signatures.instances import NO_BOUNDS, Decoder, decoder_of
from serve_app.open_inference.tensors import Tensor


def decode_tensors(
    signature: Signature,
    tensors: Sequence[Tensor],
    *,
    bounds: Mapping[str, Bounds] = NO_BOUNDS,
    max_rows: int,
) -> Batch:
    """
    The rows of the tensors in the model's column order.

    A float64 tensor in binary for a model of plain numbers is used where it lies.

    Raises:
        InvalidInput: With JSON Pointers into the request.
    """
    for tensor in tensors:
        _check_rows(tensor, max_rows)
    decoder = decoder_of(signature, bounds)
    width = len(signature.features)
    if len(tensors) == 1 and _is_rows(tensors[0], width):
        return _from_rows(decoder, tensors[0])
    return _from_features(decoder, tensors)


def _is_rows(tensor: Tensor, width: int) -> bool:
    """Whether a lone tensor is meant as whole rows, rather than as a feature among missing ones."""
    return len(tensor.shape) > 1 or width == 1


def _from_rows(decoder: Decoder, tensor: Tensor) -> Batch:
    width = decoder.shape.width
    if tensor.width != width:
        named = ", ".join(decoder.shape.names[:20])
        said = f"has {tensor.width} values a row, the model takes {width}: {named}"
        raise tensor.refused(said)
    array = tensor.find_array()
    if array is not None and (batch := decoder.find_matrix(array)) is not None:
        return batch
    values = tensor.values()
    rows = [values[start : start + width] for start in range(0, len(values), width)]
    return decoder.decode_rows(rows, tensor.pointer)


def _from_features(decoder: Decoder, tensors: Sequence[Tensor]) -> Batch:
    by_name: dict[str, Tensor] = {}
    for tensor in tensors:
        if tensor.name not in decoder.shape.names:
            named = ", ".join(decoder.shape.names[:20])
            raise tensor.refused(f"is no feature of this model, which takes {named}")
        if tensor.name in by_name:
            raise tensor.refused("is given twice")
        if tensor.width != 1 or tensor.rows != tensors[0].rows:
            raise tensor.refused(f"must have the shape [{tensors[0].rows}], as the first input has")
        by_name[tensor.name] = tensor
    missing = [name for name in decoder.shape.names if name not in by_name]
    if missing:
        names = ", ".join(missing[:20])
        raise refuse("/inputs", "missing_feature", f"inputs lack the features {names}")
    ordered = [by_name[name] for name in decoder.shape.names]
    columns = [tensor.values() for tensor in ordered]
    return decoder.decode_columns(columns, lambda row, column: ordered[column].pointer(row, 0))


def _check_rows(tensor: Tensor, max_rows: int) -> None:
    if tensor.rows == 0:
        raise tensor.refused("holds no row: send at least one")
    if tensor.rows > max_rows:
        said = f"has {tensor.rows} rows, at most {max_rows} are taken in one request"
        raise tensor.refused(f"{said}: send them in parts")
