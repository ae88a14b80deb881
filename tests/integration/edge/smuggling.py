"""Requests that two servers might read in two ways: one inside another, by what ends the first."""

from tests.integration.edge.nginx import HOST

HEAD = f"POST /first HTTP/1.1\r\nHost: {HOST}\r\n"
SMUGGLED = f"GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\nX-Pad: "
LAST = f"GET /last HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"


def with_length(body: str, *, headers: str = "", length: str | None = None) -> str:
    """A request whose Content-Length covers its body, or claims what ``length`` says."""
    claimed = str(len(body)) if length is None else length
    return f"{HEAD}{headers}Content-Length: {claimed}\r\n\r\n{body}"


def chunked(headers: str, *, chunks: str = "1\r\nx\r\n0\r\n\r\n", length: str = "") -> str:
    """A request with chunks, and a Content-Length where one is given."""
    declared = f"Content-Length: {length}\r\n" if length else ""
    return f"{HEAD}{declared}{headers}\r\n{chunks}"


#: A body that ends, for a server that goes by chunks, before a second request.
SPLIT = f"0\r\n\r\n{SMUGGLED}x\r\n\r\n"
VARIANTS = {
    "CL.TE": with_length(SPLIT, headers=CHUNKED),
    "TE.CL": chunked(CHUNKED, chunks=f"5c\r\n{SMUGGLED}\r\n0\r\n\r\n", length="4"),
    "CL.TE, TE in HTTP/1.0": with_length(SPLIT, headers=CHUNKED).replace("1.1", "1.0", 1),
    "TE: xchunked": with_length(SPLIT, headers="Transfer-Encoding: xchunked\r\n"),
    "TE: chunked, identity": with_length(SPLIT, headers="Transfer-Encoding: chunked, identity\r\n"),
    "TE: identity": with_length(SPLIT, headers="Transfer-Encoding: identity\r\n"),
    "TE twice": with_length(SPLIT, headers=f"{CHUNKED}Transfer-Encoding: identity\r\n"),
    "TE twice, chunked alone": chunked(f"{CHUNKED}Transfer-Encoding: cow\r\n"),
    "TE with a space before the colon": with_length(
        SPLIT, headers="Transfer-Encoding : chunked\r\n"
    ),
    "TE with a tab": with_length(SPLIT, headers="Transfer-Encoding:\tchunked\r\n"),
    "TE with a vertical tab": with_length(SPLIT, headers="Transfer-Encoding: \x0bchunked\r\n"),
    "TE with an underscore": with_length(SPLIT, headers="Transfer_Encoding: chunked\r\n"),
    "TE in capitals": with_length(SPLIT, headers="TRANSFER-ENCODING: CHUNKED\r\n"),
    "TE quoted": with_length(SPLIT, headers='Transfer-Encoding: "chunked"\r\n'),
    "TE behind a bare LF": with_length(SPLIT, headers="X-A: b\nTransfer-Encoding: chunked\r\n"),
    "TE behind a bare CR": with_length(SPLIT, headers="X-A: b\rTransfer-Encoding: chunked\r\n"),
    "TE behind NUL": with_length(SPLIT, headers="X-A: b\x00\r\nTransfer-Encoding: chunked\r\n"),
    "TE folded": with_length(SPLIT, headers="Transfer-Encoding:\r\n chunked\r\n"),
    "TE in a fold": with_length(SPLIT, headers="X-A: b\r\n Transfer-Encoding: chunked\r\n"),
    "TE in a fold by tab": with_length(SPLIT, headers="X-A: b\r\n\tTransfer-Encoding: chunked\r\n"),
    "CL folded": f"{HEAD}Content-Length:\r\n {len(SPLIT)}\r\n\r\n{SPLIT}",
    "CL twice, different": with_length(SPLIT, headers="Content-Length: 0\r\n"),
    "CL twice, different, the other way": with_length(
        SPLIT, headers=f"Content-Length: {len(SPLIT)}\r\n", length="0"
    ),
    "CL twice, equal": with_length(SPLIT, headers=f"Content-Length: {len(SPLIT)}\r\n"),
    "CL a list": with_length(SPLIT, length=f"0, {len(SPLIT)}"),
    "CL with a sign": with_length(SPLIT, length=f"+{len(SPLIT)}"),
    "CL negative": with_length(SPLIT, length="-1"),
    "CL in hexadecimal": with_length(SPLIT, length=hex(len(SPLIT))),
    "CL with a space inside": with_length(SPLIT, length=f"{len(SPLIT)} 0"),
    "CL of 2**64 + n": with_length(SPLIT, length=str(2**64 + len(SPLIT))),
    "CL with a space before the colon": f"{HEAD}Content-Length : {len(SPLIT)}\r\n\r\n{SPLIT}",
    "CL with an underscore": f"{HEAD}Content_Length: {len(SPLIT)}\r\n\r\n{SPLIT}",
    "CL on GET": with_length(SPLIT).replace("POST", "GET", 1),
    "no length": f"{HEAD}\r\n{SPLIT}",
    "bare LF throughout": with_length(SPLIT).replace("\r\n", "\n"),
    "chunk size in 0x": chunked(CHUNKED, chunks=f"0x1\r\nx\r\n{SPLIT}"),
    "chunk size with a sign": chunked(CHUNKED, chunks=f"+1\r\nx\r\n{SPLIT}"),
    "chunk size overflows": chunked(CHUNKED, chunks=f"ffffffffffffffff1\r\nx\r\n{SPLIT}"),
    "chunk extension with LF": chunked(CHUNKED, chunks=f"1;a\nb\r\nx\r\n{SPLIT}"),
    "chunk ended by LF": chunked(CHUNKED, chunks=f"1\nx\n{SPLIT}"),
    "chunk longer than it says": chunked(CHUNKED, chunks=f"1\r\nxyz\r\n{SPLIT}"),
    "trailer with a length": chunked(CHUNKED, chunks="0\r\nContent-Length: 9\r\n\r\n"),
    "trailer with an encoding": chunked(CHUNKED, chunks=f"0\r\n{CHUNKED}\r\n"),
    "two hosts": with_length(SPLIT, headers="Host: evil.example\r\n"),
    "another host in the line": with_length(SPLIT).replace("/first", "http://evil.example/first"),
    "header without a name": with_length(SPLIT, headers=": x\r\n"),
    "header without a colon": with_length(SPLIT, headers="Transfer-Encoding chunked\r\n"),
    "space before the first header": f"POST /first HTTP/1.1\r\n Host: x\r\n\r\n{SPLIT}",
    "request in the URL": f"GET /first%20HTTP/1.1%0d%0aHost:%20x%0d%0a%0d%0a{SMUGGLED} HTTP/1.1\r\n"
    f"Host: {HOST}\r\n\r\n",
    "request in a header": with_length("", headers=f"X-A: b\r\r\n\r{SMUGGLED}\r\n"),
    "upgrade to h2c": f"{HEAD}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    f"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: 0\r\n\r\n{SMUGGLED}\r\n\r\n",
    "connection names a header": with_length(SPLIT, headers="Connection: X-Slipway-Edge, Host\r\n"),
    "expect": with_length(SPLIT, headers="Expect: 100-continue\r\n"),
    "HTTP/0.9": f"GET /first\r\n{SPLIT}",
    "HTTP/2 preface": f"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{SPLIT}",
}
