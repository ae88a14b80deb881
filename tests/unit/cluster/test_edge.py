"""What the edge's configuration is made of, and what is refused before nginx reads it."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from cluster import errors
from cluster.edge import EdgeConfig, render
from cluster.edge_bodies import BodyPace
from cluster.edge_errors import ERRORS, HOST_REFUSED, too_large
from cluster.edge_routes import INFER, PREDICT, UPLOAD
from cluster.errors import InsecureSettings, PlatformError
from cluster.settings import Settings
from serve_app.middleware.body_limit import UPLOAD_EXTRA_BYTES, is_infer, is_upload

SETTINGS = Settings(
    _env_file=None,
    edge_token=SecretStr("t" * 40),
    allowed_hosts=["api.example.org", "*.example.net"],
    max_request_size=1111,
    max_request_size_binary=2222,
    max_upload_size=3333,
    request_timeout_s=7,
    trusted_proxy_hops=1,
    port=8123,
)


LUA = {"body_pace": BodyPace(lua_modules=Path("/modules"))}


def config(**changes: object) -> EdgeConfig:
    return EdgeConfig.from_settings(
        SETTINGS, certificate=Path("/tls/c.pem"), certificate_key=Path("/tls/k.pem"), **changes
    )


def test_the_settings_reach_the_configuration() -> None:
    text = render(config())

    for expected in (
        "server_name api.example.org *.example.net;",
        "client_max_body_size 1111;",
        "client_max_body_size 2222;",
        f"client_max_body_size {3333 + UPLOAD_EXTRA_BYTES};",
        'proxy_set_header X-Slipway-Edge "' + "t" * 40 + '";',
        "server 127.0.0.1:8123 max_fails=0;",
        "proxy_read_timeout 17s;",
        "map $http_x_forwarded_for $edge_client",
    ):
        assert expected in text


@pytest.mark.parametrize("changes", [{}, LUA])
def test_nothing_is_left_unfilled(changes: dict[str, object]) -> None:
    assert re.findall(r"%\{?\w+", render(config(**changes))) == []


@pytest.mark.parametrize("changes", [{}, LUA])
def test_braces_are_balanced(changes: dict[str, object]) -> None:
    text = re.sub(r'"[^"\n]*"|\'[^\'\n]*\'', "", render(config(**changes)))

    assert text.count("{") == text.count("}")


def test_bodies_are_awaited_wherever_requests_are_passed_on_and_not_behind() -> None:
    text = render(config(**LUA))
    servers = re.split(r"^    server \{$", text, flags=re.MULTILINE)[1:]

    assert ["{ await_body(" in server for server in servers] == [True, True, True, False, False]
    assert "lua" not in render(config())


def test_a_route_with_larger_bodies_has_more_windows_for_them() -> None:
    pace = BodyPace(window_s=1, bytes_per_s=1000, lua_modules=Path("/modules"))
    bounds = {"json_bytes": 2000, "binary_bytes": 3000, "upload_bytes": 4000}
    text = render(config(body_pace=pace, **bounds))

    for bound_bytes in bounds.values():
        assert re.search(
            rf"client_max_body_size {bound_bytes};\s+"
            rf"access_by_lua_block \{{ await_body\({bound_bytes // 1000}\)",
            text,
        )


def test_only_predictions_are_sent_twice() -> None:
    text = render(config())
    blocks = re.findall(r"location (\S+(?: \S+)?) \{([^}]*)\}", text)
    retried = {match for match, inner in blocks if "non_idempotent" in inner}

    assert retried == {f"~ {PREDICT}", f"~ {INFER}", "@replica_predict", "@replica_again"}


@pytest.mark.parametrize(
    ("path", "is_prediction"),
    [
        ("/api/v1/models/iris/predict", True),
        ("/api/v1/predict", True),
        ("/api/v1/models/iris/predict/", True),
        ("/v2/models/iris/infer", True),
        ("/v2/models/iris/versions/2/infer", True),
        ("/api/v1/auth/login", False),
        ("/api/v1/models", False),
        ("/api/v1/models/predict", False),
        ("/api/v1/models/a/b/predict", False),
        ("/api/v1/auth/login/predict", False),
    ],
)
def test_what_counts_as_a_prediction(path: str, *, is_prediction: bool) -> None:
    assert bool(re.search(PREDICT, path) or re.search(INFER, path)) is is_prediction


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/models",
        "/api/v1/models/",
        "/api/v1/models/iris/versions",
        "/api/v1/models/iris",
        "/v2/models/iris/infer",
        "/v2/models/iris",
        "/api/v1/predict",
    ],
)
def test_the_edge_and_the_application_bound_the_same_routes(path: str) -> None:
    assert bool(re.search(UPLOAD, path)) is is_upload("POST", path)
    assert bool(re.search(INFER, path)) is is_infer(path)


def test_the_codes_are_the_applications() -> None:
    known = {error.code for error in _subclasses(PlatformError)} | {"request_timeout"}

    assert {error.code for error in (*ERRORS, HOST_REFUSED, too_large(1))} <= known


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"token": ""}, "EDGE_TOKEN is missing"),
        ({"token": 'x"; return 200'}, "EDGE_TOKEN holds a character"),
        ({"server_names": ()}, "ALLOWED_HOSTS is empty"),
        ({"server_names": ("*",)}, "ALLOWED_HOSTS is empty or *"),
        ({"server_names": ("a; return 200",)}, "reserves"),
        ({"doors": ("$host:80",)}, "reserves"),
        ({"grafana": "grafana:3000;"}, "reserves"),
        ({"directory": Path("/a b")}, "reserves"),
        ({"body_pace": BodyPace(lua_modules=Path("/a;b"))}, "reserves"),
    ],
)
def test_what_nginx_would_misread_is_refused(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(InsecureSettings, match=re.escape(sentence)):
        render(config(**changes))


def test_the_token_shows_in_no_representation() -> None:
    assert "t" * 40 not in repr(config())


def _subclasses(cls: type[errors.PlatformError]) -> list[type[errors.PlatformError]]:
    return [cls, *(each for child in cls.__subclasses__() for each in _subclasses(child))]
