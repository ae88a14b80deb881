"""Bodies are bounded by route, counted as they arrive, inflated only where that is asked for."""

import gzip
import zlib

import pytest

from tests.unit.serve_app.middleware.door import client, pieces, settings

pytestmark = pytest.mark.anyio
SMALL = settings(max_request_size=2000, max_request_size_binary=5000, max_upload_size=10_000)
EXTRA = 2 * 1024 * 1024


@pytest.mark.parametrize(
    ("path", "bound"),
    [
        ("/api/v1/auth/login", 2000),
        ("/api/v1/models/m/predict", 2000),
        ("/v2/models/m/infer", 5000),
        ("/v2/models/m/versions/2/infer", 5000),
        ("/api/v1/models", 10_000 + EXTRA),
        ("/api/v1/models/m/versions", 10_000 + EXTRA),
    ],
)
async def test_each_kind_of_route_has_its_bound(path: str, bound: int) -> None:
    async with client(SMALL) as http:
        fits = await http.post(path, content=b"x" * bound)
        declared = await http.post(path, content=b"x" * (bound + 1))
        streamed = await http.post(path, content=pieces(b"x" * bound, b"x"))

    assert fits.json()["body_bytes"] == bound
    for answer in (declared, streamed):
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert str(bound) in answer.json()["error"]
        assert answer.headers["connection"] == "close"


async def test_only_a_post_is_an_upload() -> None:
    async with client(SMALL) as http:
        answer = await http.patch("/api/v1/models", content=b"x" * 2001)

    assert answer.status_code == 413


async def test_a_declared_length_over_the_bound_is_refused_unread() -> None:
    async with client(SMALL) as http:
        answer = await http.post("/x", content=b"", headers={"Content-Length": str(10**12)})

    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["-1", "1e3", "abc", "+5"])
async def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    async with client(SMALL) as http:
        answer = await http.post("/x", content=b"", headers={"Content-Length": length})

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("gzip", gzip.compress(b"x" * 4000, mtime=0)),
        ("deflate", zlib.compress(b"x" * 4000)),
        ("identity", b"x" * 4000),
    ],
)
async def test_infer_takes_compressed_bodies(encoding: str, content: bytes) -> None:
    async with client(SMALL) as http:
        answer = await http.post(
            "/v2/models/m/infer", content=content, headers={"Content-Encoding": encoding}
        )

    assert answer.json()["body_bytes"] == 4000


async def test_a_compressed_body_may_come_in_pieces() -> None:
    content = gzip.compress(bytes(range(256)) * 10)
    async with client(SMALL) as http:
        answer = await http.post(
            "/v2/models/m/infer",
            content=pieces(*(content[n : n + 7] for n in range(0, len(content), 7))),
            headers={"Content-Encoding": "gzip"},
        )

    assert answer.json()["body_bytes"] == 2560


async def test_a_bomb_is_stopped_at_the_bound() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    wide = settings(max_request_size_binary=1_000_000)
    async with client(wide) as http:
        answer = await http.post(
            "/v2/models/m/infer", content=bomb, headers={"Content-Encoding": "gzip"}
        )

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    "content",
    [
        b"not gzip at all",
        gzip.compress(b"x" * 100, mtime=0)[:-8],  # cut short
        gzip.compress(b"x", mtime=0) + b"tail",
        b"",
    ],
)
async def test_a_body_that_is_not_what_it_is_called_is_refused(content: bytes) -> None:
    async with client(SMALL) as http:
        answer = await http.post(
            "/v2/models/m/infer", content=pieces(content), headers={"Content-Encoding": "gzip"}
        )

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")


@pytest.mark.parametrize(
    ("path", "encoding"),
    [
        ("/api/v1/models/m/predict", "gzip"),
        ("/api/v1/auth/login", "deflate"),
        ("/v2/models/m/infer", "br"),
        ("/v2/models/m/infer", "gzip, gzip"),
    ],
)
async def test_no_other_route_or_encoding_is_inflated(path: str, encoding: str) -> None:
    async with client(SMALL) as http:
        answer = await http.post(path, content=b"x", headers={"Content-Encoding": encoding})

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
