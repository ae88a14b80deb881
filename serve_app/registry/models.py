"""Models: made with their first version, listed, changed, handed over, deleted."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cluster.errors import Fault, InvalidInput, ModelConflict
from serve_app.registry.aliases import move_alias, touch
from serve_app.registry.assembly import model_record, model_records, version_record
from serve_app.registry.names import PRODUCTION, check_model_name, find_id
from serve_app.registry.quotas import Quota, check_quota
from serve_app.registry.records import ModelRecord, NewVersion, Page, UploadRecord
from serve_app.registry.tables import Model, ModelShare, User
from serve_app.registry.versions import insert_version
from serve_app.registry.visibility import Viewer, get_row, get_row_to_change, owned_by

NAME_INDEX = "uq_models_owner_id_name"
VISIBILITIES = ("private", "shared", "public")
#: What ``update_model`` takes.
CHANGEABLE = frozenset({"description", "feature_bounds", "visibility", "shared_with"})


def create_model_with_version(
    session: Session,
    *,
    owner_id: str,
    name: str,
    new: NewVersion,
    quota: Quota,
    description: str | None = None,
) -> UploadRecord:
    """
    Make a model and its version 1, named ``production``.

    Raises:
        InvalidInput: If the name cannot be given.
        ModelConflict: If the owner has a model of that name, also one being made at this moment.
        QuotaExceeded: If the owner may not own that much.
    """
    check_model_name(name)
    check_quota(session, owner_id, quota, new_models=1, new_bytes=new.size_bytes, is_locked=True)
    row = Model(owner_id=uuid.UUID(owner_id), name=name, description=description)
    session.add(row)
    _flush_name(session, name)
    version = insert_version(session, row, new, created_by=owner_id)
    move_alias(session, row, PRODUCTION, version.number)
    return UploadRecord(model=model_record(session, row), version=version_record(version))


def is_name_taken(session: Session, owner_id: str, name: str) -> bool:
    """Whether the owner has a model of that name: a cheap question before bytes are vetted."""
    statement = select(Model.id).where(
        owned_by(owner_id), Model.name == name, Model.deleted_at.is_(None)
    )
    return session.scalar(statement) is not None


def list_models(
    session: Session,
    *,
    owner_id: str | None,
    limit: int,
    offset: int,
    status: str | None = None,
    ids: frozenset[str] | None = None,
) -> Page[ModelRecord]:
    """
    One page of an account's models, newest first; at most six statements however many there are.

    Args:
        session: Any session.
        owner_id: Whose models; none for everybody's, which is an admin's question.
        limit: Models on a page.
        offset: Models before the page.
        status: ready or quarantined; none for both.
        ids: The models that an API key is tied to; none for all.
    """
    conditions = [owned_by(owner_id), Model.deleted_at.is_(None)]
    if status is not None:
        conditions.append(Model.status == status)
    if ids is not None:
        tied = [model_id for item in ids if (model_id := find_id(item)) is not None]
        conditions.append(Model.id.in_(tied))
    total = session.scalar(select(func.count()).select_from(Model).where(*conditions))
    statement = (
        select(Model)
        .where(*conditions)
        .order_by(Model.created_at.desc(), Model.id)
        .limit(limit)
        .offset(offset)
    )
    rows = session.scalars(statement).all()
    items = model_records(session, rows)
    return Page(items=items, total=total or 0, limit=limit, offset=offset)


def get_model(session: Session, viewer: Viewer, model: str) -> ModelRecord:
    """
    A model by a name of the caller's own, or by id.

    Raises:
        ModelNotFound: If there is none that the caller may see; it names what was asked for.
    """
    return model_record(session, get_row(session, viewer, model))


def get_owned_model(session: Session, viewer: Viewer, model: str) -> ModelRecord:
    """
    A model that the caller may change: the question before an upload is vetted.

    Raises:
        ModelNotFound, NotPermitted: As for any change.
    """
    return model_record(session, get_row_to_change(session, viewer, model))


def update_model(
    session: Session, viewer: Viewer, model: str, changes: Mapping[str, Any]
) -> ModelRecord:
    """
    Change what an owner may change; members that are absent stay.

    Args:
        session: Of a ``Database.write``.
        viewer: Who asks.
        model: Name or id.
        changes: Any of description, feature_bounds, visibility and shared_with (e-mails or ids;
            the whole list; naming anybody makes a private model shared).

    Raises:
        InvalidInput: For another member, an unknown visibility or an unknown user.
        ModelNotFound, NotPermitted: As for any change.
    """
    if unknown := set(changes) - CHANGEABLE:
        raise InvalidInput(f"{', '.join(sorted(unknown))} cannot be changed")
    if changes.get("visibility", "private") not in VISIBILITIES:
        raise InvalidInput(f"visibility is one of {', '.join(VISIBILITIES)}")
    row = get_row_to_change(session, viewer, model)
    for name in ("description", "feature_bounds", "visibility"):
        if name in changes:
            setattr(row, name, changes[name])
    if "shared_with" in changes:
        users = _user_ids(session, changes["shared_with"] or ())
        _replace_shares(session, row, users)
        if users and row.visibility == "private" and "visibility" not in changes:
            row.visibility = "shared"
    touch(session, row)
    return model_record(session, row)


def delete_model(session: Session, viewer: Viewer, model: str) -> ModelRecord:
    """
    Mark a model deleted, which frees its name at once; its bytes stay for backups.

    Raises:
        ModelNotFound, NotPermitted: As for any change.
    """
    row = get_row_to_change(session, viewer, model)
    record = model_record(session, row)
    touch(session, row)
    row.deleted_at = row.updated_at
    session.flush()
    return record


def transfer_ownership(session: Session, viewer: Viewer, model: str, new_owner: str) -> ModelRecord:
    """
    Hand a model over to another account, given by e-mail or id.

    Raises:
        InvalidInput: If there is no such account.
        ModelConflict: If it has a model of that name.
        ModelNotFound, NotPermitted: As for any change.
    """
    row = get_row_to_change(session, viewer, model)
    row.owner_id = _owner_id(session, new_owner)
    _flush_name(session, row.name)
    session.execute(
        delete(ModelShare).where(ModelShare.model_id == row.id, ModelShare.user_id == row.owner_id)
    )
    touch(session, row)
    return model_record(session, row)


def _owner_id(session: Session, user: str) -> uuid.UUID:
    try:
        return _user_ids(session, [user])[0]
    except InvalidInput:
        fault = Fault(path="/owner", code="unknown_user", message="no such user")
        raise InvalidInput(
            f"no user {user[:254]!r}: give the e-mail or id of an account", details=(fault,)
        ) from None


def _flush_name(session: Session, name: str) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        if NAME_INDEX not in str(error.orig):
            raise
        raise ModelConflict(
            f"there is a model named {name!r} already: upload a version to it, or choose another"
            " name",
            model=name,
        ) from error


def _user_ids(session: Session, users: Sequence[str]) -> list[uuid.UUID]:
    ids = {user_id for user in users if (user_id := find_id(user)) is not None}
    emails = {user.lower() for user in users}
    statement = select(User.id, User.email).where(or_(User.id.in_(ids), User.email.in_(emails)))
    found: dict[str, uuid.UUID] = {}
    for user_id, email in session.execute(statement):
        found[str(user_id)] = found[email] = user_id
    faults = [
        Fault(path=f"/shared_with/{index}", code="unknown_user", message=f"no user {user!r}")
        for index, user in enumerate(users)
        if _key(user) not in found
    ]
    if faults:
        raise InvalidInput(f"{faults[0].message}: give e-mails or ids of users", details=faults)
    return list(dict.fromkeys(found[_key(user)] for user in users))


def _key(user: str) -> str:
    user_id = find_id(user)
    return user.lower() if user_id is None else str(user_id)


def _replace_shares(session: Session, row: Model, users: list[uuid.UUID]) -> None:
    session.execute(delete(ModelShare).where(ModelShare.model_id == row.id))
    session.add_all(
        ModelShare(model_id=row.id, user_id=user) for user in users if user != row.owner_id
    )
    session.flush()
