"""Every error leaves a FastAPI application with our status, body and headers."""

from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict
from ray.exceptions import RayTaskError

from cluster import errors, request_errors
from cluster.errors import Fault, InvalidInput, PlatformError
from cluster.settings import Settings
from serve_app.api.errors import error_response, install, status_of
from serve_app.api.json_body import StrictRoute
from serve_app.middleware.stack import middleware_stack

pytestmark = pytest.mark.anyio


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    count: int


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    inner: list[Inner] = []


RAISED: dict[str, Exception] = {}


def application() -> FastAPI:
    app = FastAPI(middleware=middleware_stack(Settings(_env_file=None)), openapi_url=None)
    router = APIRouter(route_class=StrictRoute)

    @router.get("/raise/{name}")
    @router.get("/v2/raise/{name}")
    async def raising(name: str) -> None:
        raise RAISED[name]

    @router.post("/body")
    @router.post("/v2/body")
    async def body(sent: Body) -> Body:
        return sent

    @router.get("/page")
    async def page(limit: Annotated[int, Query(ge=1, le=100)] = 20) -> int:
        return limit

    @router.put("/thing")
    async def put() -> None: ...

    @router.get("/thing")
    async def get() -> None: ...

    app.include_router(router)
    install(app)
    return app


@pytest.fixture
def http() -> httpx.AsyncClient:
    transport = httpx.ASGITransport(application())
    return httpx.AsyncClient(transport=transport, base_url="http://testserver")


@pytest.mark.parametrize(
    ("error", "status", "v2_status"),
    [
        (errors.InvalidInput("x"), 422, 400),
        (request_errors.MalformedJson("x"), 400, 400),
        (errors.PredictionFailed("x"), 422, 400),
        (errors.NonFiniteOutput("x"), 422, 422),
        (errors.NotAuthenticated("x"), 401, 401),
        (errors.NotPermitted("x"), 403, 403),
        (errors.ModelNotFound("x"), 404, 404),
        (errors.ModelConflict("x"), 409, 409),
        (request_errors.IdempotencyKeyInUse("x", retry_after_s=2), 409, 409),
        (request_errors.IdempotencyKeyReused("x"), 422, 422),
        (errors.UploadRefused("x"), 422, 422),
        (errors.TooLarge("x"), 413, 413),
        (request_errors.HeadersTooLarge("x"), 431, 431),
        (errors.RateLimited("x"), 429, 429),
        (errors.QuotaExceeded("x"), 429, 429),
        (errors.Overloaded("x"), 503, 503),
        (errors.RegistryUnavailable("x"), 503, 503),
        (errors.StorageFull("x"), 507, 507),
        (errors.DeadlineExceeded("x"), 504, 504),
        (errors.ArtifactCorrupt("x"), 500, 500),
    ],
)
async def test_one_table_maps_errors_to_statuses(
    error: PlatformError, status: int, v2_status: int, http: httpx.AsyncClient
) -> None:
    RAISED["it"] = error

    answers = [await http.get("/raise/it"), await http.get("/v2/raise/it")]

    assert [answer.status_code for answer in answers] == [status, v2_status]
    for answer in answers:
        assert answer.json()["code"] == error.code
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("error", "header", "value"),
    [
        (errors.RateLimited("x", retry_after_s=3.2), "retry-after", "4"),
        (errors.RateLimited("x", retry_after_s=0.01), "retry-after", "1"),
        (errors.QuotaExceeded("x"), "retry-after", "60"),
        (errors.Overloaded("x"), "retry-after", "1"),
        (request_errors.IdempotencyKeyInUse("x", retry_after_s=2), "retry-after", "2"),
        (errors.NotAuthenticated("x"), "www-authenticate", 'Bearer realm="slipway"'),
        (errors.TooLarge("x"), "connection", "close"),
        (errors.RateLimited("x", headers={"RateLimit": "r"}), "ratelimit", "r"),
    ],
)
async def test_headers_that_belong_to_a_status(
    error: PlatformError, header: str, value: str, http: httpx.AsyncClient
) -> None:
    RAISED["it"] = error

    assert (await http.get("/raise/it")).headers[header] == value


async def test_details_and_a_finer_code_are_shown(http: httpx.AsyncClient) -> None:
    fault = Fault(path="/instances/0", code="type", message="send a number")
    RAISED["it"] = InvalidInput("row 0 is wrong", code="example_mismatch", details=(fault,))

    body = (await http.get("/raise/it")).json()

    assert body == {
        "error": "row 0 is wrong",
        "code": "example_mismatch",
        "request_id": body["request_id"],
        "details": [{"path": "/instances/0", "code": "type", "message": "send a number"}],
    }


def test_an_error_of_ray_shows_its_sentence_and_not_its_traceback() -> None:
    cause = InvalidInput("a sentence", model="m")
    error = RayTaskError("predict", "Traceback: a secret", cause).as_instanceof_cause()

    assert status_of(error) == 422
    body = bytes(error_response(error, "r").body)
    assert b"Traceback" not in body


def test_what_is_ours_to_mend_is_told_in_general_words() -> None:
    response = error_response(errors.ArtifactCorrupt("object ab/cd differs"), "r")

    assert b"ab/cd" not in bytes(response.body)
    assert b"artifact_corrupt" in bytes(response.body)


@pytest.mark.parametrize(
    ("path", "status", "code"), [("/nowhere", 404, "not_found"), ("/raise", 404, "not_found")]
)
async def test_a_path_without_a_route(
    path: str, status: int, code: str, http: httpx.AsyncClient
) -> None:
    answer = await http.get(path)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_405_names_every_method_of_the_path(http: httpx.AsyncClient) -> None:
    answer = await http.delete("/thing")

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, PUT"


@pytest.mark.parametrize(
    ("detail", "status"), [("ours to know", 404), ("ours to know", 400), ("x", 418)]
)
async def test_a_frameworks_own_words_are_not_repeated(
    detail: str, status: int, http: httpx.AsyncClient
) -> None:
    RAISED["it"] = HTTPException(status, detail)

    answer = await http.get("/raise/it")

    assert answer.status_code == status
    assert "ours to know" not in answer.text
    assert set(answer.json()) == {"error", "code", "request_id"}


@pytest.mark.parametrize(
    ("sent", "path", "code", "says"),
    [
        ({"inner": []}, "/name", "missing", "is missing"),
        ({"name": 5}, "/name", "string_type", "string"),
        ({"name": "a", "nam": 1}, "/nam", "unknown_member", "'nam'"),
        ({"name": "a", "a/b~c": 1}, "/a~1b~0c", "unknown_member", "'a/b~c'"),
        ({"name": "a", "inner": [{"count": "1"}]}, "/inner/0/count", "int_type", "integer"),
        ({"name": "a", "inner": [{"count": True}]}, "/inner/0/count", "int_type", "integer"),
        ([], "", "model_attributes_type", "JSON object"),
        (None, "", "missing", "missing"),
    ],
)
async def test_what_is_wrong_is_shown_by_json_pointer(
    sent: Any, path: str, code: str, says: str, http: httpx.AsyncClient
) -> None:
    answer = await http.post("/body", json=sent)

    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_input"
    assert answer.json()["details"][0]["path"] == path
    assert answer.json()["details"][0]["code"] == code
    assert says in answer.json()["error"]


async def test_under_v2_it_is_a_400(http: httpx.AsyncClient) -> None:
    assert (await http.post("/v2/body", json={})).status_code == 400


async def test_at_most_twenty_faults_are_listed(http: httpx.AsyncClient) -> None:
    answer = await http.post("/body", json={f"m{n}": 1 for n in range(50)})

    assert len(answer.json()["details"]) == 20
    assert "50 more" in answer.json()["error"]


async def test_what_was_sent_is_not_repeated(http: httpx.AsyncClient) -> None:
    answer = await http.post("/body", json={"name": {"password": "hunter2hunter2"}})

    assert "hunter2" not in answer.text


async def test_a_query_parameter_is_named(http: httpx.AsyncClient) -> None:
    answer = await http.get("/page?limit=0")

    assert answer.status_code == 422
    assert answer.json()["details"][0]["path"] == "/limit"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"{'name': 'a'}",
        b'{"name": "a"} x',
        b'{"name": NaN}',
        b'{"name": -Infinity}',
        b'{"name": 1e400}',
        b'{"name": "a", "name": "b"}',
        b'{"name": "a", "inner": [{"count": 1, "count": 2}]}',
        b'{"name": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"[" * 33 + b"]" * 33,
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
async def test_what_is_not_json_is_malformed(text: bytes, http: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await http.post("/body", content=text, headers=headers)

    # An empty body is a missing one.
    expected = (400, "malformed_json") if text else (422, "invalid_input")
    assert (answer.status_code, answer.json()["code"]) == expected


async def test_brackets_in_strings_are_no_depth(http: httpx.AsyncClient) -> None:
    answer = await http.post("/body", json={"name": '[{"\\' * 500})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        (None, 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
    ],
)
async def test_bodies_are_json_by_type(
    content_type: str | None, status: int, http: httpx.AsyncClient
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = await http.post("/body", content=b'{"name": "a"}', headers=headers)

    assert answer.status_code == status
