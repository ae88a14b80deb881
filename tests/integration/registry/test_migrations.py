"""The schema: made by migrations alone, equal to the models, with the indexes that lists need."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool

from cluster.errors import RegistryUnavailable
from serve_app.registry.migrate import pending, upgrade
from serve_app.registry.tables import Base


def test_models_and_migrations_agree(database_url: str) -> None:
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        differences = compare_metadata(context, Base.metadata)

    assert differences == []


def test_upgrade_names_what_it_applied_and_then_nothing(empty_database_url: str) -> None:
    before = pending(empty_database_url)

    assert before
    assert upgrade(empty_database_url) == before
    assert upgrade(empty_database_url) == []
    assert pending(empty_database_url) == []


def test_two_upgrades_at_once_take_turns(empty_database_url: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        applied = list(pool.map(upgrade, [empty_database_url] * 2))

    assert min(map(len, applied)) == 0
    assert pending(empty_database_url) == []


def test_a_server_that_is_away_is_named_so() -> None:
    with pytest.raises(RegistryUnavailable):
        pending("postgresql+psycopg2://nobody@127.0.0.1:1/none")


@pytest.mark.parametrize(
    "columns",
    [["owner_id"], ["name"], ["status"], ["created_at"], ["owner_id", "status"]],
    ids="-".join,
)
def test_models_are_indexed(database_url: str, columns: list[str]) -> None:
    engine = create_engine(database_url, poolclass=NullPool)

    indexed = [index["column_names"] for index in inspect(engine).get_indexes("models")]

    assert columns in indexed
