"""Lists of models: pages, filters, what is cached, and who sees what."""

from typing import Any

import pytest
from sqlalchemy import event

from serve_app.registry.versions import quarantine_version
from tests.integration.models_api.conftest import House
from tests.integration.models_api.making import MODELS, make, new_user

pytestmark = pytest.mark.anyio


async def test_the_list_is_paged_newest_first(house: House) -> None:
    client = await new_user(house)
    for name in ("a", "b", "c"):
        await make(client, name)

    first = (await client.get(MODELS, params={"limit": 2})).json()
    rest = (await client.get(MODELS, params={"limit": 2, "offset": 2})).json()

    assert [item["name"] for item in first["items"]] == ["c", "b"]
    assert [item["name"] for item in rest["items"]] == ["a"]
    assert (first["total"], first["limit"], first["offset"]) == (3, 2, 0)


@pytest.mark.parametrize(
    "params",
    [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"offset": -1}, {"status": "gone"}],
)
async def test_a_page_has_bounds(house: House, params: dict[str, Any]) -> None:
    client = await new_user(house)

    answer = await client.get(MODELS, params=params)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_a_change_is_in_the_list_at_once_though_it_is_cached(house: House) -> None:
    client = await new_user(house)
    await make(client, "iris", versions=2)

    seen = []
    for version in (2, 1, 2):
        await client.put(f"{MODELS}/iris/aliases/production", json={"version": version})
        pages = [(await client.get(MODELS)).json() for _ in range(2)]
        seen.append([page["items"][0]["production"] for page in pages])

    assert seen == [[2, 2], [1, 1], [2, 2]]


async def test_a_repeated_list_asks_the_registry_nothing(house: House) -> None:
    client = await new_user(house)
    await make(client, "iris")
    await client.get(MODELS)
    engine = house.services.database._connections.engine()
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

    await client.get(MODELS)

    assert [text for text in statements if "FROM models" in text] == []


async def test_one_user_never_sees_anothers_models(house: House) -> None:
    owner, other = await new_user(house), await new_user(house)
    made = await make(owner, "iris")

    paths = [f"{MODELS}/{made['id']}{tail}" for tail in ("", "/versions", "/aliases", "/stats")]
    answers = [await other.get(path) for path in paths]

    assert (await other.get(MODELS)).json()["total"] == 0
    assert {answer.status_code for answer in answers} == {404}
    assert {answer.json()["code"] for answer in answers} == {"model_not_found"}


async def test_the_list_filters_by_status(house: House) -> None:
    client = await new_user(house)
    made = await make(client, "broken")
    await make(client, "whole")
    written = await house.services.database.write(lambda s: quarantine_version(s, made["id"], 1))
    await house.services.follower.settle(written.sequence)

    names = {
        status: [
            item["name"]
            for item in (await client.get(MODELS, params={"status": status})).json()["items"]
        ]
        for status in ("ready", "quarantined")
    }

    assert names == {"ready": ["whole"], "quarantined": ["broken"]}
