"""
Gate 0: what kind of file this is, by its first bytes, and that it is only that.

Names and content types are the client's and are never asked.
"""

import struct

from cluster.contracts import ArtifactFormat
from deployments.intake.refusals import refusal

#: First bytes of joblib's compressors; ``zlib`` by its header check instead (see ``_is_zlib``).
COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x5d\x00": "lzma",
    b"\x04\x22\x4d\x18": "lz4",
}
_ZIP_LOCAL = b"PK\x03\x04"
_ZIP_END = b"PK\x05\x06"
_ZLIB_DEFLATE_32K = 0x78
_END_RECORD = struct.Struct("<4s4H2LH")
_PROTO = 0x80
_PICKLE_PROTOCOLS = frozenset(range(2, 6))
#: joblib puts raw arrays behind this class; a pickle without it has no bytes between opcodes.
_JOBLIB_MARK = b"NumpyArrayWrapper"
_LAST_ONNX_FIELD = 26
_LENGTH_DELIMITED = 2
#: ModelProto fields that open an ONNX file: ir_version, opset_import and their neighbours.
_ONNX_FIRST = frozenset({0x08, 0x12, 0x1A, 0x22, 0x2A, 0x32, 0x3A, 0x42})


def detect(content: bytes) -> ArtifactFormat:
    """
    The one format these bytes are.

    A compressed file is "joblib"; so is a pickle stream that contains joblib's array wrapper.

    Raises:
        UploadRefused: gate0, reason "type", where the bytes are none of ours or two at once;
            reason "legacy_joblib" for files of joblib before 0.10.
    """
    if not content:
        raise _foreign("the file is empty")
    if content.startswith(b"ZF"):
        raise refusal(
            "gate0: the file was written by joblib before 0.10: load it with an old joblib and "
            "save it again with joblib 1.0 or later",
            gate="gate0",
            reason="legacy_joblib",
        )
    if content.startswith(_ZIP_LOCAL):
        _check_single_zip(content)
        return "skops"
    if compression(content) is not None:
        return "joblib"
    if content[0] == _PROTO and len(content) > 1 and content[1] in _PICKLE_PROTOCOLS:
        _check_no_zip_tail(content)
        return "joblib" if _JOBLIB_MARK in content else "pickle"
    if _looks_like_old_pickle(content):
        raise refusal(
            "gate2: the file is a pickle of protocol 0 or 1: save it again with protocol 2 to 5 "
            "(the default of pickle and joblib)",
            gate="gate2",
            reason="opcode",
        )
    if content[0] in _ONNX_FIRST and _is_protobuf(content):
        return "onnx"
    raise _foreign("the file is none of skops, ONNX, joblib and pickle")


def compression(content: bytes) -> str | None:
    """The compressor that joblib would have used for these bytes, or ``None``."""
    for prefix, name in COMPRESSED.items():
        if content.startswith(prefix):
            return name
    return "zlib" if _is_zlib(content) else None


def _is_zlib(content: bytes) -> bool:
    # RFC 1950: method 8, window up to 32 KiB, and a header that is a multiple of 31.
    return (
        len(content) > 1
        and content[0] == _ZLIB_DEFLATE_32K
        and (content[0] * 256 + content[1]) % 31 == 0
    )


def _foreign(what: str) -> Exception:
    return refusal(
        f"gate0: {what}: upload a fitted scikit-learn model saved with skops.io.dump, "
        "joblib.dump or pickle, or an ONNX file",
        gate="gate0",
        reason="type",
    )


def _check_single_zip(content: bytes) -> None:
    """Refuse a zip whose end record does not close the file, or is there twice."""
    position = content.rfind(_ZIP_END)
    if position < 0 or position + _END_RECORD.size > len(content):
        raise _foreign("the zip container has no end")
    fields = _END_RECORD.unpack_from(content, position)
    directory_bytes, directory_offset, comment_bytes = fields[5], fields[6], fields[7]
    ends_file = position + _END_RECORD.size == len(content) and comment_bytes == 0
    # A prefix before the archive moves the directory away from where the record says it is.
    adjoins = directory_offset + directory_bytes == position
    if not (ends_file and adjoins):
        raise _foreign("the zip container is mixed with other bytes")
    if b"schema.json" not in content[directory_offset:position]:
        raise _foreign("the zip container holds no schema.json, so it is not a skops file")


def _check_no_zip_tail(content: bytes) -> None:
    # A zip reader looks at the end of a file and would see another file there.
    tail = content[-(_END_RECORD.size + 0xFFFF) :]
    position = tail.rfind(_ZIP_END)
    if position < 0 or position + _END_RECORD.size > len(tail):
        return
    comment_bytes = _END_RECORD.unpack_from(tail, position)[7]
    if position + _END_RECORD.size + comment_bytes == len(tail):
        raise _foreign("the file is a pickle and a zip at once")


def _looks_like_old_pickle(content: bytes) -> bool:
    return content[:1] in b"(ci]}" and content.rstrip(b"\n").endswith(b".") and len(content) < 10**8


def _is_protobuf(content: bytes) -> bool:
    """True where the top level walks field by field to exactly the end of the bytes."""
    position, size = 0, len(content)
    while position < size:
        tag, position = _varint(content, position)
        if tag is None or tag >> 3 == 0 or tag >> 3 > _LAST_ONNX_FIELD:
            return False
        kind = tag & 7
        if kind == 0:
            _, position = _varint(content, position)
        elif kind == _LENGTH_DELIMITED:
            length, position = _varint(content, position)
            if length is None or length > size - position:
                return False
            position += length
        else:
            return False
    return position == size


def _varint(content: bytes, position: int) -> tuple[int | None, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(content):
            break
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
    return None, len(content) + 1
