"""
Gate 1 for zip containers: the members as bytes, counted as they inflate.

Sizes that the directory declares are never believed; names that a careful archive never has are
refused, though nothing here writes a file.
"""

import io
import stat
import struct
import zipfile
import zlib

from deployments.intake.limits import MIB, Limits
from deployments.intake.refusals import refusal

_STEP_BYTES = MIB
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_END = struct.Struct("<4s4H2LH")
_ENTRY_BYTES = 512
_ZIP64 = 0xFFFFFFFF
_MAX_NAME = 255


def unzip(content: bytes, limits: Limits) -> dict[str, bytes]:
    """
    Member name -> bytes of a whole archive.

    Raises:
        UploadRefused: gate1, reason "zip" (count, names, links, encryption, methods, damage) or
            "ratio" (inflates too far).
    """
    _check_directory(content, limits)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            _check_members(members, limits)
            return _read(archive, members, len(content), limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise _refused("is damaged") from error


def _refused(what: str, reason: str = "zip") -> Exception:
    return refusal(
        f"gate1: the zip container {what}: save the model again with skops.io.dump",
        gate="gate1",
        reason=reason,
    )


def _check_directory(content: bytes, limits: Limits) -> None:
    position = content.rfind(b"PK\x05\x06")
    if position < 0 or position + _END.size > len(content):
        raise _refused("has no end")
    fields = _END.unpack_from(content, position)
    # Read before zipfile does: its directory reader allocates one object an entry.
    if max(fields[3], fields[4]) > limits.max_zip_members:
        raise _refused(f"has more than {limits.max_zip_members} members")
    if fields[5] > _ENTRY_BYTES * max(fields[4], 1) or _ZIP64 in fields[5:7]:
        raise _refused("has a directory that is too large")


def _check_members(members: list[zipfile.ZipInfo], limits: Limits) -> None:
    if len(members) > limits.max_zip_members:
        raise _refused(f"has more than {limits.max_zip_members} members")
    seen: set[str] = set()
    for member in members:
        name = member.filename
        if name in seen:
            raise _refused("names one member twice")
        seen.add(name)
        parts = name.replace("\\", "/").split("/")
        if not name or name[0] in "/\\" or ":" in name or ".." in parts or len(name) > _MAX_NAME:
            raise _refused("has a member name that leaves it")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise _refused("holds a link")
        if member.flag_bits & 0x1:
            raise _refused("is encrypted")
        if member.compress_type not in _METHODS:
            raise _refused("is compressed in an unusual way")


def _read(
    archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], stored: int, limits: Limits
) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    total = 0
    for member in members:
        pieces: list[bytes] = []
        with archive.open(member) as stream:
            while piece := stream.read(_STEP_BYTES):
                total += len(piece)
                _check_total(total, stored, limits)
                pieces.append(piece)
        found[member.filename] = b"".join(pieces)
    return found


def _check_total(total: int, stored: int, limits: Limits) -> None:
    dense = total > limits.ratio_free_bytes and total > limits.max_inflation_ratio * stored
    if total > limits.max_inflated_bytes or dense:
        raise _refused(f"inflates to {total} bytes or more from {stored}", "ratio")
