"""
Who may see and who may change a model; the one place that says so, for every statement.

The owner, those it is shared with, anybody signed in where it is public, and admins; everybody
else gets the answer of a model that does not exist.
"""

import uuid
from typing import Protocol

from sqlalchemy import ColumnElement, and_, or_, select, true
from sqlalchemy.orm import Session

from cluster.errors import ModelNotFound, NotPermitted
from serve_app.registry.names import find_id, is_name, shown
from serve_app.registry.tables import Model, ModelShare


class Viewer(Protocol):
    """The part of a Principal that the registry looks at."""

    @property
    def user_id(self) -> str:
        """Id of the account."""
        ...

    @property
    def is_admin(self) -> bool:
        """True for an admin whose credential carries that power."""
        ...

    @property
    def models(self) -> frozenset[str] | None:
        """Model ids that an API key is tied to; ``None`` for all."""
        ...


def is_visible(viewer: Viewer) -> ColumnElement[bool]:
    """Condition on ``models`` rows: not deleted, and this caller may use it."""
    conditions: list[ColumnElement[bool]] = [Model.deleted_at.is_(None)]
    if not viewer.is_admin:
        conditions.append(is_granted(viewer.user_id))
    if viewer.models is not None:
        tied = [model_id for item in viewer.models if (model_id := find_id(item)) is not None]
        conditions.append(Model.id.in_(tied))
    return and_(*conditions)


def is_granted(user_id: str) -> ColumnElement[bool]:
    """Condition on ``models`` rows: owned by, shared with or public to this account."""
    account = uuid.UUID(user_id)
    shared = select(ModelShare.user_id).where(
        ModelShare.model_id == Model.id, ModelShare.user_id == account
    )
    return or_(
        Model.owner_id == account,
        Model.visibility == "public",
        and_(Model.visibility == "shared", shared.exists()),
    )


def is_named(viewer: Viewer, model: str) -> ColumnElement[bool] | None:
    """Condition for an id or a name of the caller's own; ``None`` where it can be neither."""
    model_id = find_id(model)
    if model_id is not None:
        return Model.id == model_id
    if not is_name(model):
        return None
    return and_(Model.owner_id == uuid.UUID(viewer.user_id), Model.name == model)


def find_row(
    session: Session, viewer: Viewer, model: str, *, is_locked: bool = False
) -> Model | None:
    """The row of the model that the caller names and may see, or ``None``."""
    named = is_named(viewer, model)
    if named is None:
        return None
    statement = select(Model).where(named, is_visible(viewer))
    if is_locked:
        # Not FOR UPDATE: inserting a version takes a key-share lock on the same row.
        statement = statement.with_for_update(key_share=True).execution_options(
            populate_existing=True
        )
    return session.scalar(statement)


def get_row(session: Session, viewer: Viewer, model: str) -> Model:
    """
    The row of the model that the caller names and may see.

    Raises:
        ModelNotFound: If there is none; it names what was asked for.
    """
    row = find_row(session, viewer, model)
    if row is None:
        raise not_found(model)
    return row


def get_row_to_change(session: Session, viewer: Viewer, model: str) -> Model:
    """
    The row, locked until the transaction ends, so that changes of one model take turns.

    Raises:
        ModelNotFound: If the caller may not see it.
        NotPermitted: If the caller is neither its owner nor an admin.
    """
    row = find_row(session, viewer, model, is_locked=True)
    if row is None:
        raise not_found(model)
    if not viewer.is_admin and str(row.owner_id) != viewer.user_id:
        raise NotPermitted(f"only the owner of model {row.name!r} may change it", model=str(row.id))
    return row


def owned_by(owner_id: str | None) -> ColumnElement[bool]:
    """Condition for the models of one account, or of all."""
    return true() if owner_id is None else Model.owner_id == uuid.UUID(owner_id)


def not_found(model: str) -> ModelNotFound:
    """The one answer for models that do not exist and for those the caller may not see."""
    return ModelNotFound(
        f"no model {shown(model)}: use the name of one of your own models, or the id of one shared"
        " with you",
        model=model[:64],
    )
