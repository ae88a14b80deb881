"""The pace of bodies as nginx reads it."""

from pathlib import Path

import pytest

from cluster import edge_bodies
from cluster.edge_bodies import MODULES, BodyPace, find_lua_modules


def test_without_lua_there_is_nothing_to_read() -> None:
    pace = BodyPace()

    assert [pace.load(), pace.define(), pace.wait(1)] == [[], [], []]


def test_the_modules_are_loaded_in_order() -> None:
    assert BodyPace(lua_modules=Path("/m")).load() == [
        "load_module /m/ndk_http_module.so;",
        "load_module /m/ngx_http_lua_module.so;",
    ]


def test_a_window_brings_its_share() -> None:
    pace = BodyPace(window_s=3, bytes_per_s=50, lua_modules=Path("/m"))

    assert "    local window_s, share_bytes = 3, 150" in pace.define()


@pytest.mark.parametrize(("bound_bytes", "windows"), [(1, 1), (150, 1), (151, 2), (15_000, 100)])
def test_the_largest_body_has_the_windows_that_it_takes(bound_bytes: int, windows: int) -> None:
    pace = BodyPace(window_s=3, bytes_per_s=50, lua_modules=Path("/m"))

    assert pace.wait(bound_bytes) == [f"access_by_lua_block {{ await_body({windows}) }}"]


def test_what_waits_is_defined() -> None:
    assert "    function await_body(windows)" in BodyPace(lua_modules=Path("/m")).define()


def test_a_module_alone_is_not_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_bodies, "DISTRIBUTION_MODULES", tmp_path)
    found = []
    for name in MODULES:
        found.append(find_lua_modules())
        (tmp_path / name).touch()

    assert [*found, find_lua_modules()] == [None, None, tmp_path]
