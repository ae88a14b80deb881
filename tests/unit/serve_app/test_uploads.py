"""The upload intake through a small ASGI application, chunk by chunk."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from cluster.errors import PlatformError, QuotaExceeded
from serve_app.upload_fields import FIELD_BYTES_MAX
from serve_app.uploads import Uploads

pytestmark = pytest.mark.anyio

FILE_BYTES_MAX = 10_000
MULTIPART = {"content-type": "multipart/form-data; boundary=cut"}


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def uploads(spool: Path) -> Uploads:
    return Uploads(
        spool=spool, file_bytes_max=FILE_BYTES_MAX, concurrent_per_user=2, idle_timeout_s=5
    )


@pytest.fixture
def client(uploads: Uploads) -> httpx.AsyncClient:
    async def upload(request: Request) -> JSONResponse:
        length = request.headers.get("content-length")
        try:
            async with uploads.receive(
                request.stream(),
                content_type=request.headers.get("content-type", ""),
                content_length=int(length) if length else None,
                parts=tuple(FIELD_BYTES_MAX),
            ) as upload:
                content = await upload.content()
                return JSONResponse(
                    {
                        "sha256": upload.sha256,
                        "size_bytes": upload.size_bytes,
                        "same": hashlib.sha256(content).hexdigest() == upload.sha256,
                        "fields": dict(upload.fields),
                        "promote": upload.promote,
                        "examples": upload.examples and upload.examples.instances,
                        "request": upload.request_sha256.hex(),
                    }
                )
        except PlatformError as error:
            return JSONResponse(
                {"code": error.public_code, "error": error.message, "details": error.details},
                status_code=400,
            )

    app = Starlette(routes=[Route("/", upload, methods=["POST"])])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver")


def names_in(spool: Path) -> list[str]:
    return [path.name for path in spool.iterdir()]


def part(name: str, value: bytes, *, filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename else ""
    head = f'--cut\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + value + b"\r\n"


async def trickle(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize("size", [1, 7, 64, 65536])
async def test_bytes_and_digest_survive_any_chunking(client: httpx.AsyncClient, size: int) -> None:
    content = b"\r\n--cu\r\n--cut-not\r\n" + bytes(range(256)) * 3
    body = part("file", content, filename="m.skops") + part("name", b"iris") + b"--cut--\r\n"

    answer = (await client.post("/", headers=MULTIPART, content=trickle(body, size))).json()

    assert answer["sha256"] == hashlib.sha256(content).hexdigest()
    assert answer["same"]
    assert answer["size_bytes"] == len(content)
    assert answer["fields"] == {"name": "iris"}
    assert answer["promote"] is False


async def test_every_part_is_decoded(client: httpx.AsyncClient) -> None:
    examples = json.dumps({"instances": [[1, 2]], "predictions": [0], "method": "predict"})

    answer = await client.post(
        "/",
        files={"file": ("x", b"abc")},
        data={"name": "m", "description": "Größe", "promote": "true", "examples": examples},
    )

    assert answer.json()["fields"] == {"name": "m", "description": "Größe"}
    assert answer.json()["promote"] is True
    assert answer.json()["examples"] == [[1, 2]]


async def test_the_same_request_under_another_boundary_has_the_same_digest(
    client: httpx.AsyncClient,
) -> None:
    sent = [
        await client.post("/", files={"file": ("x", b"abc")}, data={"name": name})
        for name in ("a", "a", "b")
    ]
    first, again, other = (answer.json()["request"] for answer in sent)

    assert first == again
    assert first != other


async def test_nothing_is_left_in_the_spool(client: httpx.AsyncClient, spool: Path) -> None:
    await client.post("/", files={"file": ("x", b"abc")})
    await client.post("/", files={"file": ("x", b"a" * 20_000)})

    assert names_in(spool) == []


def _many_parts() -> bytes:
    return b"".join(part(f"p{i}", b"") for i in range(100_000)) + b"--cut--\r\n"


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        # cut off inside the file
        (part("file", b"abc")[:-4], "malformed_multipart", "closing boundary"),
        # nothing at all
        (b"", "malformed_multipart", "closing boundary"),
        # not multipart inside
        (b"hello there, this is no multipart", "malformed_multipart", "cannot be read"),
        # no file
        (part("name", b"iris") + b"--cut--\r\n", "invalid_input", "'file' is missing"),
        # two files
        (part("file", b"a") + part("file", b"b") + b"--cut--\r\n", "invalid_input", "one file"),
        # a part we do not know
        (part("model", b"a") + b"--cut--\r\n", "invalid_input", "unknown part 'model'"),
        # a field twice
        (part("name", b"a") + part("name", b"b") + b"--cut--\r\n", "invalid_input", "'name'"),
        # a part without a name
        (b"--cut\r\nX: y\r\n\r\nz\r\n--cut--\r\n", "malformed_multipart", "name every part"),
        # 100,000 parts: refused at the first
        (_many_parts(), "invalid_input", "unknown part 'p0'"),
        # a field longer than its bound
        (part("name", b"n" * 300) + b"--cut--\r\n", "too_large", "256 bytes"),
        # one byte too many
        (part("file", b"x" * 10_001) + b"--cut--\r\n", "too_large", "10000 bytes"),
        # examples that are not JSON
        (
            part("file", b"a") + part("examples", b"{nope") + b"--cut--\r\n",
            "invalid_input",
            "not JSON",
        ),
        # examples of the wrong shape
        (
            part("file", b"a") + part("examples", b"[1]") + b"--cut--\r\n",
            "invalid_input",
            "instances",
        ),
        # NaN is not JSON
        (
            part("file", b"a") + part("examples", b'{"instances":[NaN]}') + b"--cut--\r\n",
            "invalid_input",
            "not JSON",
        ),
        # an unknown member
        (
            part("file", b"a") + part("examples", b'{"instances":[1],"x":1}') + b"--cut--\r\n",
            "invalid_input",
            "'x'",
        ),
        # fewer predictions than instances
        (
            part("file", b"a")
            + part("examples", b'{"instances":[1],"predictions":[]}')
            + b"--cut--\r\n",
            "invalid_input",
            "a list of 1",
        ),
        # promote is a boolean
        (part("file", b"a") + part("promote", b"yes") + b"--cut--\r\n", "invalid_input", "promote"),
        # not UTF-8
        (part("file", b"a") + part("name", b"\xff") + b"--cut--\r\n", "invalid_input", "UTF-8"),
    ],
)
async def test_a_bad_form_is_refused_with_a_sentence(
    client: httpx.AsyncClient, body: bytes, code: str, said: str
) -> None:
    answer = await client.post("/", headers=MULTIPART, content=trickle(body, 4096))

    assert answer.json()["code"] == code
    assert said in answer.json()["error"]


@pytest.mark.parametrize(
    ("content_type", "code"),
    [
        ("application/json", "unsupported_media_type"),
        ("", "unsupported_media_type"),
        # no boundary
        ("multipart/form-data", "malformed_multipart"),
        # a boundary longer than RFC 2046 allows
        ("multipart/form-data; boundary=" + "b" * 71, "malformed_multipart"),
    ],
)
async def test_other_content_types_are_refused(
    client: httpx.AsyncClient, content_type: str, code: str
) -> None:
    answer = await client.post("/", headers={"content-type": content_type}, content=b"{}")

    assert answer.json()["code"] == code


async def test_an_oversized_stream_is_refused_before_it_has_arrived(
    client: httpx.AsyncClient, spool: Path
) -> None:
    """The endless body is read no further than the lingering allows."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield part("file", b"")[:-2]
        while True:
            sent += 65536
            yield b"x" * 65536

    answer = await client.post("/", headers=MULTIPART, content=endless())

    assert answer.json()["code"] == "too_large"
    assert sent < 9 * 1024 * 1024


async def test_an_endless_epilogue_is_refused(client: httpx.AsyncClient) -> None:
    def body() -> Iterator[bytes]:
        yield part("file", b"a") + b"--cut--\r\n"
        for _ in range(40):
            yield b"x" * 65536

    async def stream() -> AsyncIterator[bytes]:
        for chunk in body():
            yield chunk

    answer = await client.post("/", headers=MULTIPART, content=stream())

    assert answer.json()["code"] == "too_large"


async def test_a_client_that_goes_away_leaves_nothing(uploads: Uploads, spool: Path) -> None:
    messages: Iterator[dict[str, object]] = iter(
        [
            {"type": "http.request", "body": part("file", b"abc")[:-2], "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> dict[str, object]:
        return next(messages)

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(PlatformError, match="cut off"):
        async with uploads.receive(
            request.stream(), content_type=MULTIPART["content-type"], parts=()
        ):
            pass

    assert names_in(spool) == []


async def test_a_disk_that_is_nearly_full_takes_no_file(spool: Path) -> None:
    greedy = Uploads(spool=spool, file_bytes_max=2**60, concurrent_per_user=1, idle_timeout_s=5)
    request = Request({"type": "http", "method": "POST", "headers": []})

    with pytest.raises(PlatformError) as caught:
        async with greedy.receive(request.stream(), content_type="", parts=()):
            pass

    assert caught.value.public_code == "storage_full"


async def test_a_silent_client_is_let_go(spool: Path) -> None:
    impatient = Uploads(spool=spool, file_bytes_max=100, concurrent_per_user=1, idle_timeout_s=0.01)

    async def silent() -> AsyncIterator[bytes]:
        yield part("file", b"abc")[:-2]
        await anyio.sleep_forever()

    with pytest.raises(PlatformError, match="stood still"):
        async with impatient.receive(silent(), content_type=MULTIPART["content-type"], parts=()):
            pass


def test_a_user_has_two_places_and_others_have_their_own(uploads: Uploads) -> None:
    with (
        uploads.slot("ada"),
        uploads.slot("ada"),
        uploads.slot("bob"),
        pytest.raises(QuotaExceeded) as caught,
        uploads.slot("ada"),
    ):
        pass

    assert caught.value.retry_after_s == 2
    with uploads.slot("ada"):
        pass
