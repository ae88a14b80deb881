"""What pydantic found wrong, in our words: a sentence, and each field as a JSON Pointer."""

from collections.abc import Mapping, Sequence

from fastapi.exceptions import RequestValidationError

from cluster.errors import MAX_DETAILS, Fault, InvalidInput
from cluster.request_errors import MalformedJson

#: Our code for pydantic's kinds; others keep pydantic's word.
CODES = {"extra_forbidden": "unknown_member", "missing": "missing"}


def validation_error(error: RequestValidationError) -> InvalidInput:
    """Our error for FastAPI's; never repeats what the caller sent."""
    found: Sequence[Mapping[str, object]] = error.errors()
    if any(fault["type"] == "json_invalid" for fault in found):
        return MalformedJson("the body is not JSON: check it with a JSON tool")
    faults = tuple(_fault(fault) for fault in found[:MAX_DETAILS])
    first = faults[0]
    others = len(found) - 1
    more = f" (and {others} more)" if others else ""
    return InvalidInput(f"{_where(first)}{first.message}{more}", details=faults)


def pointer(parts: Sequence[object]) -> str:
    """JSON Pointer (RFC 6901) of a path of names and indices."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _where(fault: Fault) -> str:
    return f"{fault.path}: " if fault.path else "the body: "


def _fault(found: Mapping[str, object]) -> Fault:
    location = found["loc"]
    parts = location[1:] if isinstance(location, tuple) else ()
    kind = str(found["type"])
    if kind == "extra_forbidden":
        message = f"unknown member {parts[-1]!r}: remove it" if parts else "unknown member"
    elif kind == "missing":
        message = "is missing: send it"
    elif kind in {"model_attributes_type", "dict_type"}:
        message = "send a JSON object"
    else:
        message = str(found["msg"]).removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
    return Fault(path=pointer(parts), code=CODES.get(kind, kind), message=message)
