"""
A child's verdict as JSON, and back: a report, or the error that refused the file.

The child may have been taken over by what it read, so the way back trusts nothing: types are
checked, texts are cut, and only two kinds of error exist.
"""

import re
from collections.abc import Mapping
from typing import Any, cast, get_args

from cluster.contracts import METHODS, ArtifactFormat, JsonObject, VetReport
from cluster.errors import MAX_DETAILS, Fault, InvalidInput, PlatformError, UploadRefused
from deployments.engines.compiled import compiled_form
from deployments.intake.protocol import BrokenFrame
from deployments.signatures.storage import signature_from_json, signature_to_json

#: Longest sentence that is passed on to a caller, and longest other text.
MAX_SENTENCE = 2000
MAX_TEXT = 500
MAX_NOTES = 32
_ERRORS: dict[str, type[PlatformError]] = {
    "UploadRefused": UploadRefused,
    "InvalidInput": InvalidInput,
}
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def report_to_json(report: VetReport) -> JsonObject:
    """The report as JSON values alone; the compiled form's arrays travel beside it."""
    return {
        "format": report.format,
        "signature": signature_to_json(report.signature),
        "engines": report.engines,
        "engine_notes": report.engine_notes,
        "cost_per_row_s": report.cost_per_row_s,
        "memory_bytes": report.memory_bytes,
        "warnings": list(report.warnings),
        "canary": report.canary,
        "libraries": report.libraries,
        "parity_s": report.parity_s,
    }


def report_from_json(value: JsonObject, compiled: bytes = b"") -> VetReport:
    """
    The report that ``report_to_json`` wrote, with the compiled form's arrays if there are any.

    Raises:
        BrokenFrame: The object is no report.
    """
    try:
        return VetReport(
            format=_format(value["format"]),
            signature=signature_from_json(_object(value["signature"])),
            engines=_texts(value["engines"], keys=METHODS),
            engine_notes=_texts(value["engine_notes"], keys=METHODS),
            cost_per_row_s=_seconds(value["cost_per_row_s"]),
            memory_bytes=_count(value["memory_bytes"]),
            warnings=tuple(_sentence(item) for item in value["warnings"][:MAX_NOTES]),
            canary=_object(value["canary"]),
            libraries=_texts(value["libraries"]),
            compiled=compiled_form(compiled) if compiled else None,
            parity_s=_duration_s(value["parity_s"]),
        )
    except BrokenFrame:
        raise
    except Exception as error:
        # Whatever a hostile child can put there, the parent answers "no verdict" and lives on.
        raise BrokenFrame(f"no report: {type(error).__name__}") from error


def error_to_json(error: PlatformError) -> JsonObject:
    """A refusal as JSON; errors of any other kind become UploadRefused."""
    kind = next((name for name, cls in _ERRORS.items() if isinstance(error, cls)), "UploadRefused")
    context = {
        key: item
        for key, item in error.context.items()
        if isinstance(item, (str, int, float, bool)) and item == item  # noqa: PLR0124  no NaN
    }
    return {
        "error": kind,
        "sentence": error.message,
        "context": context,
        "details": error.details,
    }


def error_from_json(value: JsonObject) -> PlatformError:
    """
    The refusal that ``error_to_json`` wrote, cleaned for a caller's eyes.

    Raises:
        BrokenFrame: The object is no refusal.
    """
    try:
        kind = _ERRORS[value["error"]]
        context: dict[str, object] = {
            _text(key): _text(item) if isinstance(item, str) else item
            for key, item in _object(value["context"]).items()
            if isinstance(item, (str, int, float, bool))
        }
        _check_code(context.get("code", kind.code))
        faults = tuple(
            Fault(
                path=_text(item["path"]),
                code=_text(item["code"]),
                message=_sentence(item["message"]),
            )
            for item in value["details"][:MAX_DETAILS]
        )
        if faults:
            context["details"] = faults
        return kind(_sentence(value["sentence"]), **context)
    except BrokenFrame:
        raise
    except Exception as error:
        # As above: any malformed object is the same to the parent.
        raise BrokenFrame(f"no refusal: {type(error).__name__}") from error


def _format(value: object) -> ArtifactFormat:
    if value not in get_args(ArtifactFormat):
        raise BrokenFrame("unknown format")
    return cast("ArtifactFormat", value)


def _check_code(value: object) -> None:
    if not isinstance(value, str) or not _CODE.fullmatch(value):
        raise BrokenFrame("malformed code")


def _object(value: object) -> JsonObject:
    if not isinstance(value, dict):
        raise BrokenFrame("an object was expected")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BrokenFrame("a text was expected")
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value[:MAX_TEXT])


def _sentence(value: object) -> str:
    if not isinstance(value, str):
        raise BrokenFrame("a sentence was expected")
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value[:MAX_SENTENCE])


def _texts(value: object, keys: tuple[str, ...] | None = None) -> dict[str, str]:
    items = list(_object(value).items())[:MAX_NOTES]
    if keys is not None and any(key not in keys for key, _ in items):
        raise BrokenFrame("unknown method")
    return {_text(key): _text(item) for key, item in items}


def _seconds(value: object) -> dict[str, float]:
    costs = cast("Mapping[str, Any]", _object(value))
    if any(key not in METHODS for key in costs):
        raise BrokenFrame("unknown method")
    return {key: _duration_s(cost) for key, cost in costs.items()}


def _duration_s(value: Any) -> float:
    seconds = float(value)
    if not 0 <= seconds < float("inf"):
        raise BrokenFrame("a duration was expected")
    return seconds


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BrokenFrame("a count was expected")
    return value
