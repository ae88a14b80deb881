"""The small parts of an upload: name, description, promote and examples, decoded and bounded."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from cluster.contracts import METHODS, Examples
from cluster.errors import Fault, InvalidInput

#: Bytes of each part; a description of 2000 characters may take four bytes for each.
FIELD_BYTES_MAX = {
    "name": 256,
    "description": 8000,
    "promote": 16,
    "examples": 1024 * 1024,
}
EXAMPLE_ROWS_MAX = 100
DESCRIPTION_LENGTH_MAX = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class FormFields:
    """What was sent beside the file."""

    texts: dict[str, str]
    promote: bool
    examples: Examples | None
    #: Digest over all parts, order-independent.
    sha256: bytes


def decode_fields(fields: Mapping[str, bytes]) -> FormFields:
    """
    Values of the parts.

    Raises:
        InvalidInput: A part is not UTF-8, no boolean, or no examples; the sentence names it.
    """
    texts = {name: _text(name, raw) for name, raw in fields.items()}
    if len(texts.get("description", "")) > DESCRIPTION_LENGTH_MAX:
        raise _refusal(
            "description", f"the description is longer than {DESCRIPTION_LENGTH_MAX} characters"
        )
    examples = fields.get("examples")
    return FormFields(
        texts={name: texts[name] for name in ("name", "description") if name in texts},
        promote=_boolean("promote", texts.get("promote", "false")),
        examples=None if examples is None else decode_examples(examples),
        sha256=_digest(fields),
    )


def decode_examples(raw: bytes) -> Examples:
    """
    Examples out of the JSON text ``{instances, predictions?, method?}``.

    Raises:
        InvalidInput: It is not JSON, or not of that shape, or has too many rows.
    """
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _refusal("examples", f"the part 'examples' is not JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("instances"), list):
        raise _refusal(
            "examples", "the part 'examples' is {instances: [...], predictions?: [...], method?}"
        )
    if unknown := sorted(set(found) - {"instances", "predictions", "method"}):
        raise _refusal(
            "examples", f"the part 'examples' has the unknown member {unknown[0][:64]!r}"
        )
    instances, predictions = found["instances"], found.get("predictions")
    if not 1 <= len(instances) <= EXAMPLE_ROWS_MAX:
        raise _refusal(
            "examples", f"send 1 to {EXAMPLE_ROWS_MAX} example rows; these are {len(instances)}"
        )
    if predictions is not None and (
        not isinstance(predictions, list) or len(predictions) != len(instances)
    ):
        raise _refusal(
            "examples", f"'predictions' must be a list of {len(instances)}: one for each instance"
        )
    method = found.get("method", "predict")
    if method not in METHODS:
        raise _refusal("examples", f"'method' must be one of {', '.join(METHODS)}")
    return Examples(instances=instances, predictions=predictions, method=method)


def _text(name: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refusal(name, f"the part {name!r} is not UTF-8 text") from error


def _boolean(name: str, text: str) -> bool:
    if text not in {"true", "false"}:
        raise _refusal(name, f"the part {name!r} must be true or false")
    return text == "true"


def _digest(fields: Mapping[str, bytes]) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(fields):
        digest.update(f"{name}:{len(fields[name])}:".encode())
        digest.update(fields[name])
    return digest.digest()


def _refusal(part: str, sentence: str) -> InvalidInput:
    return InvalidInput(
        sentence, details=(Fault(path=f"/{part}", code="invalid", message=sentence),)
    )
