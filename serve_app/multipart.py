"""
Multipart bodies read as they arrive: known parts only, every bound checked before a byte is kept.

The reader never touches disk and never waits: it is fed chunks and hands back what of them belongs
to the file.  Nothing of the client's file name is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from cluster.errors import Fault, InvalidInput, TooLarge
from cluster.request_errors import MalformedMultipart, UnsupportedMediaType

#: The part that carries the file.
FILE_PART = "file"
#: Boundaries, part headers and the like; far more than any client sends.
FRAMING_BYTES_MAX = 64 * 1024
#: RFC 2046, section 5.1.1.
BOUNDARY_LENGTH_MAX = 70


@dataclass(frozen=True, kw_only=True, slots=True)
class FormBounds:
    """What a form may hold."""

    #: Bytes of the part ``file``.
    file_bytes_max: int
    #: Every other part that is known, with the most bytes that it may have.
    field_bytes_max: Mapping[str, int]

    @property
    def body_bytes_max(self) -> int:
        """Bytes of the whole body; more cannot be a form within the other bounds."""
        return self.file_bytes_max + sum(self.field_bytes_max.values()) + FRAMING_BYTES_MAX

    @property
    def part_names(self) -> str:
        """The parts for a sentence: ``file, name, description``."""
        return ", ".join((FILE_PART, *self.field_bytes_max))


def boundary_of(content_type: str) -> bytes:
    """
    The boundary that a Content-Type names.

    Raises:
        UnsupportedMediaType: If the type is not multipart/form-data.
        MalformedMultipart: If it names no usable boundary.
    """
    kind, options = parse_options_header(content_type)
    if kind.lower() != b"multipart/form-data":
        raise UnsupportedMediaType(
            "send the model as multipart/form-data with the file in the part 'file', "
            "for instance with curl -F file=@model.skops"
        )
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= BOUNDARY_LENGTH_MAX:
        raise MalformedMultipart(
            "the Content-Type names no usable boundary: let the HTTP client write that header"
        )
    return boundary


class FormReader:
    """One multipart body: ``feed`` every chunk, then ``close`` for the fields."""

    def __init__(self, content_type: str, bounds: FormBounds) -> None:
        self._bounds = bounds
        self._fields: dict[str, bytearray] = {}
        self._file_bytes = 0
        self._has_file = False
        self._body_bytes = 0
        self._is_complete = False
        self._header_name = b""
        self._header_value = b""
        self._part = ""
        self._disposition = b""
        self._pieces: list[bytes] = []
        self._parser = MultipartParser(
            boundary_of(content_type),
            {
                "on_part_begin": self._begin_part,
                "on_part_data": self._take_data,
                "on_header_field": self._take_header_name,
                "on_header_value": self._take_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._open_part,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> bytes:
        """
        Read on.

        Returns:
            The bytes of the file that came to light; often the chunk, often nothing.

        Raises:
            TooLarge: The file, a field or the body passed its bound.
            MalformedMultipart: This is no multipart body.
            InvalidInput: A part is unknown or there twice.
        """
        self._body_bytes += len(chunk)
        if self._body_bytes > self._bounds.body_bytes_max:
            raise file_too_large(self._bounds.file_bytes_max)
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise MalformedMultipart(
                "the multipart body cannot be read: send it as an HTTP client library writes it"
            ) from error
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data

    def close(self) -> dict[str, bytes]:
        """
        The fields by name, once the body has ended.

        Raises:
            MalformedMultipart: The body stopped before its closing boundary.
            InvalidInput: There is no part ``file``.
        """
        if not self._is_complete:
            raise MalformedMultipart(
                "the multipart body ends before its closing boundary: the upload was cut off, "
                "send it again"
            )
        if not self._has_file:
            raise InvalidInput(
                "the part 'file' is missing: send the model file in a part of that name",
                details=(Fault(path="/file", code="missing", message="the part is missing"),),
            )
        return {name: bytes(value) for name, value in self._fields.items()}

    def _begin_part(self) -> None:
        self._part = ""
        self._disposition = b""

    def _take_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _take_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _open_part(self) -> None:
        kind, options = parse_options_header(self._disposition)
        if kind != b"form-data" or b"name" not in options:
            raise MalformedMultipart(
                "a part has no Content-Disposition: form-data with a name: name every part"
            )
        name = options[b"name"].decode("utf-8", "replace")
        if name != FILE_PART and name not in self._bounds.field_bytes_max:
            shown = name[:64]
            raise InvalidInput(
                f"unknown part {shown!r}: this route takes {self._bounds.part_names}",
                details=(Fault(path=f"/{shown}", code="unknown", message="unknown part"),),
            )
        if name in self._fields or (name == FILE_PART and self._has_file):
            one = "one file" if name == FILE_PART else "it once"
            raise InvalidInput(
                f"the part {name!r} is there twice: send {one}",
                details=(Fault(path=f"/{name}", code="repeated", message="sent twice"),),
            )
        self._part = name
        if name == FILE_PART:
            self._has_file = True
        else:
            self._fields[name] = bytearray()

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._part == FILE_PART:
            self._file_bytes += end - start
            if self._file_bytes > self._bounds.file_bytes_max:
                raise file_too_large(self._bounds.file_bytes_max)
            self._pieces.append(data[start:end])
            return
        field = self._fields[self._part]
        bytes_max = self._bounds.field_bytes_max[self._part]
        if len(field) + end - start > bytes_max:
            raise TooLarge(
                f"the part {self._part!r} is larger than {bytes_max} bytes: shorten it",
                part=self._part,
            )
        field += data[start:end]

    def _end(self) -> None:
        self._is_complete = True


def file_too_large(bytes_max: int) -> TooLarge:
    """The refusal of a file above its bound, with the remedy."""
    return TooLarge(
        f"the file is larger than {bytes_max} bytes (MAX_UPLOAD_SIZE): save it compressed "
        "(joblib.dump(model, path, compress=3)), train a smaller model, or ask the operator to "
        "raise the bound",
        bytes_max=bytes_max,
    )
