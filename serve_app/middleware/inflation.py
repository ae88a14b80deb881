"""Inflates gzip and deflate piece by piece, within a bound on what comes out."""

import zlib
from typing import ClassVar

from cluster.errors import InvalidInput, TooLarge


class Inflation:
    """The state of one compressed body."""

    #: zlib's window bits: 16 + 15 is gzip, 15 is the zlib format that HTTP calls deflate.
    ENCODINGS: ClassVar[dict[str, int]] = {"gzip": 31, "x-gzip": 31, "deflate": 15}

    def __init__(self, encoding: str, bound: int) -> None:
        self._decompressor = zlib.decompressobj(wbits=self.ENCODINGS[encoding])
        self._bound = bound
        self._seen = 0

    def feed(self, piece: bytes, *, is_last: bool) -> bytes:
        """
        What a piece inflates to.

        Raises:
            InvalidInput: If the bytes are not what they are called, end early or go on after it.
            TooLarge: If more comes out than the bound.
        """
        try:
            inflated = self._decompressor.decompress(piece, self._bound - self._seen + 1)
        except zlib.error:
            raise InvalidInput(
                "the body is not compressed as Content-Encoding says: send it uncompressed"
            ) from None
        self._seen += len(inflated)
        if self._seen > self._bound:
            raise TooLarge(
                f"the body inflates to more than {self._bound} bytes: send less", bound=self._bound
            )
        if self._decompressor.unused_data or (is_last and not self._decompressor.eof):
            raise InvalidInput("the compressed body is cut short or has bytes after its end")
        return inflated
