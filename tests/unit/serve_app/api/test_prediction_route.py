"""What the frame around each door does with bodies, errors and headers."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import orjson
import pytest
from starlette.types import Message

from tests.unit.serve_app.predicting import double, number, resolved, service, signature

pytestmark = pytest.mark.anyio
PATH = "/api/v1/models/double/predict"


def served() -> Any:
    taken = signature(number("x0"), number("x1"))
    return service({"double": (resolved("double", taken), double)}, max_rows=100_000)


async def in_pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def test_a_body_in_pieces_is_one_body() -> None:
    content = orjson.dumps({"instances": [[n, 0] for n in range(50)]})
    async with served().client() as client:
        response = await client.post(PATH, content=in_pieces(content, 7))

    assert response.json()["predictions"] == [2.0 * n for n in range(50)]


async def test_a_large_body_is_answered_as_a_small_one_is() -> None:
    numbers = np.random.default_rng(5).random((40_000, 2))
    body = {"instances": numbers}
    content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    assert len(content) > 1024 * 1024
    async with served().client() as client:
        good = await client.post(PATH, content=content)
        bad = await client.post(PATH, content=content.replace(b"]]", b', "x"]]'))

    assert good.json()["predictions"] == (numbers[:, 0] * 2).tolist()
    assert bad.json()["details"][0]["path"] == "/instances/39999"


async def test_a_client_that_leaves_within_its_body_is_refused() -> None:
    sent: list[Message] = []
    messages: list[Message] = [
        {"type": "http.request", "body": b'{"instances"', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "headers": [(b"x-api-key", b"good")],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("testserver", 80),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }
    await served().app(scope, receive, send)

    assert sent[0]["status"] == 422
    assert orjson.loads(sent[1]["body"])["code"] == "invalid_input"


async def test_an_unexpected_error_is_500_without_its_text() -> None:
    def explode(_method: str, _batch: Any) -> Any:
        raise ZeroDivisionError("secret")

    broken = served()
    broken.predictors.models = {"id-of-double": explode}
    async with broken.client() as client:
        response = await client.post(PATH, content=b'{"instances": [[1, 2]]}')

    assert response.status_code == 500
    assert response.json()["code"] == "internal"
