"""How many models and bytes an account may own, also where uploads come at once."""

import asyncio

import pytest
from sqlalchemy.orm import Session

from cluster.errors import (
    QuotaExceeded,
)
from serve_app.registry.database import Database, Written
from serve_app.registry.models import (
    create_model_with_version,
)
from serve_app.registry.quotas import Quota, check_quota, usage
from serve_app.registry.records import UploadRecord
from serve_app.registry.tables import User

from .adding import Vetted, add_to_model
from .conftest import MakeModel, MakeUser

pytestmark = pytest.mark.anyio


async def test_quotas_count_models_and_bytes(
    database: Database, make_user: MakeUser, make_model: MakeModel, vetted: Vetted
) -> None:
    owner = await make_user()
    await make_model(owner, content=b"12345")

    used = await database.read(lambda s: usage(s, owner.user_id))
    assert (used.models, used.size_bytes) == (1, 5)
    with pytest.raises(QuotaExceeded, match="delete one"):
        await database.read(
            lambda s: check_quota(
                s, owner.user_id, Quota(max_models=1, max_bytes=100), new_models=1
            )
        )
    with pytest.raises(QuotaExceeded, match="bytes"):
        await add_to_model(database, owner, vetted(b"123456"), Quota(max_models=9, max_bytes=10))
    await add_to_model(database, owner, vetted(b"54321"), Quota(max_models=9, max_bytes=10))


async def test_an_admin_may_widen_one_users_quota(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    await make_model(owner)

    def widen(session: Session) -> None:
        user = session.get(User, owner.user_id)
        assert user is not None
        user.limits = {"max_models": 5}

    await database.write(widen)
    await database.read(
        lambda s: check_quota(s, owner.user_id, Quota(max_models=1, max_bytes=9), new_models=1)
    )


async def test_uploads_at_once_do_not_pass_the_quota_together(
    database: Database, make_user: MakeUser, vetted: Vetted
) -> None:
    owner = await make_user()
    quota = Quota(max_models=3, max_bytes=1000)

    async def create(number: int) -> Written[UploadRecord]:
        return await database.write(
            lambda s: create_model_with_version(
                s, owner_id=owner.user_id, name=f"m{number}", new=vetted(b"x"), quota=quota
            )
        )

    made = await asyncio.gather(*(create(number) for number in range(8)), return_exceptions=True)

    assert sum(isinstance(one, Written) for one in made) == 3
    assert sum(isinstance(one, QuotaExceeded) for one in made) == 5
