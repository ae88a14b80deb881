"""What a new replica is told beforehand: the keys and the models of the last hour."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, update

from serve_app.registry.database import Database, Session
from serve_app.registry.key_identities import recent_keys
from serve_app.registry.keys import KeyRecord, KeySpec, create_key, revoke_key, touch_keys
from serve_app.registry.models import delete_model
from serve_app.registry.recent_models import recent_models
from serve_app.registry.stats import StatsRecorder
from serve_app.registry.tables import ApiKey, User
from serve_app.security.principals import Principal

from .conftest import MakeModel, MakeUser

pytestmark = pytest.mark.anyio
NOW = datetime.now(UTC)


async def _key(
    database: Database, owner: Principal, name: str, *, expires_at: datetime | None = None
) -> KeyRecord:
    spec = KeySpec(name=name, scopes=("predict",), expires_at=expires_at)
    digest = f"{owner.user_id}{name}".encode()[-32:]
    written = await database.write(
        lambda s: create_key(s, owner.user_id, spec, prefix="slp", key_sha256=digest)
    )
    return written.value


async def test_keys_that_hold_and_were_used_or_made_lately(
    database: Database, make_user: MakeUser
) -> None:
    owner, gone = await make_user(), await make_user()
    made, used, old, revoked = [
        (await _key(database, owner, name)).id for name in ("made", "used", "old", "revoked")
    ]
    expired = await _key(database, owner, "expired", expires_at=NOW - timedelta(minutes=1))
    ownerless = await _key(database, gone, "ownerless")

    def age(session: Session) -> None:
        session.execute(
            update(ApiKey)
            .where(ApiKey.id.in_([used, old]))
            .values(created_at=func.now() - timedelta(days=2))
        )
        session.execute(update(User).where(User.id == gone.user_id).values(is_active=False))
        touch_keys(session, [used], at=NOW - timedelta(minutes=30))
        touch_keys(session, [old], at=NOW - timedelta(hours=2))
        revoke_key(session, revoked, owner_id=None)

    await database.write(age)
    found = [known.key.id for known in await database.read(recent_keys)]

    assert [key for key in found if key in {made, used, old, revoked}] == [made, used]
    assert not {expired.id, ownerless.id} & set(found)


async def test_models_that_were_asked_lately_the_busiest_first(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    asked = {"seldom": 1, "often": 5, "deleted": 9}
    recorder = StatsRecorder(database, "a")
    for name, count in asked.items():
        model_id = (await make_model(owner, name, content=name.encode())).model.id
        for _ in range(count):
            recorder.record(model_id, 1, 0.001)
    await make_model(owner, "never", content=b"never")
    await recorder.flush()
    await database.write(lambda session: delete_model(session, owner, "deleted"))

    found = await database.read(recent_models)

    assert [name for known, name in found if known.user_id == owner.user_id] == ["often", "seldom"]
