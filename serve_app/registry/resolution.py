"""From what a caller names to a version: one statement, and one object a version for everybody."""

import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from sqlalchemy import Row, and_, case, literal, select
from sqlalchemy.orm import Session

from cluster.contracts import ArtifactFormat, JsonObject, Signature, VersionRef
from cluster.errors import ModelNotFound
from deployments.signatures.storage import signature_from_json
from serve_app.registry.names import MAX_VERSION, PRODUCTION, find_version_number, shown
from serve_app.registry.tables import Model, ModelAlias, ModelVersion
from serve_app.registry.visibility import (
    Viewer,
    is_granted,
    is_named,
    is_visible,
    not_found,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedVersion:
    """Everything a prediction needs to know of a version; shared by all who call it."""

    ref: VersionRef
    signature: Signature
    model_name: str
    owner_id: str
    #: feature name -> {min?, max?}, set by the owner.
    feature_bounds: Mapping[str, Mapping[str, float]]
    #: method -> seconds, measured at vetting.
    cost_per_row_s: Mapping[str, float]
    #: ready | quarantined.
    status: str
    warnings: tuple[str, ...] = ()

    @property
    def version(self) -> int:
        """The version's number."""
        return self.ref.version

    @property
    def model_id(self) -> str:
        """Id of the model."""
        return self.ref.model_id


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A version, and whether the caller sees it only as an admin."""

    version: ResolvedVersion
    needs_admin: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parts:
    """What never changes of a version, kept so that equal versions are one object."""

    ref: VersionRef
    signature: Signature


class VersionParts:
    """
    References and signatures by version id, built once; bounded, oldest out first.

    Used from pool threads: an ``OrderedDict`` operation is atomic, and building a version twice
    does no harm.
    """

    def __init__(self, *, max_versions: int = 10_000) -> None:
        self._max_versions = max_versions
        self._parts: OrderedDict[uuid.UUID, _Parts] = OrderedDict()

    def get(self, row: Row[Any]) -> _Parts:
        """The parts of a version that was read; built anew after it was vetted anew."""
        engines = row.report.get("engines") or {}
        parts = self._parts.get(row.version_id)
        if parts is not None and parts.ref.engines == engines:
            return parts
        parts = _Parts(
            ref=VersionRef(
                model_id=str(row.model_id),
                version=row.number,
                sha256=row.sha256,
                size_bytes=row.size_bytes,
                format=cast(ArtifactFormat, row.format),
                engines=engines,
            ),
            signature=signature_from_json(row.signature),
        )
        self._parts[row.version_id] = parts
        if len(self._parts) > self._max_versions:
            self._parts.popitem(last=False)
        return parts


def find_version(
    session: Session, viewer: Viewer, model: str, version: str | int | None, parts: VersionParts
) -> Found:
    """
    The version that a caller means.

    Raises:
        ModelNotFound: If there is no such model, version or alias for this caller; it names which.
    """
    row = _find_row(session, viewer, model, PRODUCTION if version is None else version)
    if row is None:
        raise not_found(model)
    if row.version_id is None:
        raise _no_version(row.name, version)
    report: JsonObject = row.report
    common = parts.get(row)
    resolved = ResolvedVersion(
        ref=common.ref,
        signature=common.signature,
        model_name=row.name,
        owner_id=str(row.owner_id),
        feature_bounds=MappingProxyType(row.feature_bounds),
        cost_per_row_s=MappingProxyType(report.get("cost_per_row_s") or {}),
        status=row.status,
        warnings=tuple(report.get("warnings") or ()),
    )
    return Found(version=resolved, needs_admin=not row.is_granted)


def _find_row(session: Session, viewer: Viewer, model: str, version: str | int) -> Row[Any] | None:
    named = is_named(viewer, model)
    if named is None:
        return None
    number = find_version_number(version)
    if number is not None:
        wanted = ModelVersion.number == literal(min(max(number, 0), MAX_VERSION))
    else:
        alias = select(ModelAlias.version).where(
            ModelAlias.model_id == Model.id, ModelAlias.alias == _bounded(str(version))
        )
        wanted = ModelVersion.number == alias.correlate(Model).scalar_subquery()
    of_model = and_(ModelVersion.model_id == Model.id, ModelVersion.deleted_at.is_(None), wanted)
    statement = (
        select(
            Model.id.label("model_id"),
            Model.name,
            Model.owner_id,
            Model.feature_bounds,
            case((is_granted(viewer.user_id), True), else_=False).label("is_granted"),
            ModelVersion.id.label("version_id"),
            ModelVersion.number,
            ModelVersion.status,
            ModelVersion.sha256,
            ModelVersion.size_bytes,
            ModelVersion.format,
            ModelVersion.signature,
            ModelVersion.report,
        )
        .select_from(Model)
        .outerjoin(ModelVersion, of_model)
        .where(named, is_visible(viewer))
    )
    return session.execute(statement).one_or_none()


def _bounded(alias: str) -> str:
    # A NUL would be refused by the driver; nothing of the kind is an alias.
    return alias.replace("\x00", "")[:65]


def _no_version(name: str, version: str | int | None) -> ModelNotFound:
    if version is None:
        sentence = f"model {name!r} has no alias {PRODUCTION!r}: name a version, or set the alias"
    elif find_version_number(version) is None:
        sentence = f"model {name!r} has no alias {shown(str(version))}: see its aliases"
    else:
        sentence = f"model {name!r} has no version {version}: see its versions"
    return ModelNotFound(sentence, model=name, version=version)
