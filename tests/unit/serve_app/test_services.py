from typing import Any, cast

import pytest
from pydantic import SecretStr

from cluster.settings import Settings
from serve_app.services import Services, build_services

pytestmark = pytest.mark.anyio


def services(**values: Any) -> Services:
    """Services that connect to nothing until they are started."""
    settings = Settings(
        _env_file=None,
        database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none"),
        redis_url=SecretStr("redis://127.0.0.1:1/0"),
        secret_key=SecretStr("k" * 40),
        **values,
    )
    nobody = cast("Any", None)
    return build_services(settings, predictors=nobody, loaders=nobody, replica_id="r")


async def test_the_short_path_is_there_unless_it_is_switched_off() -> None:
    assert services().short_path is not None
    assert services(short_path_enabled=False).short_path is None
