"""Further versions for a model that a test has made."""

from collections.abc import Callable

from serve_app.registry.database import Database, Written
from serve_app.registry.quotas import Quota
from serve_app.registry.records import NewVersion, UploadRecord
from serve_app.registry.versions import add_version
from serve_app.security.principals import Principal

#: What the fixture ``vetted`` is: a version of these bytes, as the intake reports one.
Vetted = Callable[[bytes], NewVersion]


async def add_to_model(
    database: Database, owner: Principal, new: NewVersion, quota: Quota, name: str = "iris"
) -> Written[UploadRecord]:
    """One more version of ``name``, not promoted."""
    return await database.write(lambda s: add_version(s, owner, name, new, quota=quota))
