"""
skops files: the zip is opened under bounds and its schema is built by our own node table.

skops itself is not called.  Its nodes would import by name, run ``__setstate__`` and hand arrays
to numpy before anything is checked; here each node goes through the same names, constructors and
validators as a pickle, so what decides is what loads.
"""

import json
from collections.abc import Callable
from typing import Any

from deployments.intake.budgets import Budget, over
from deployments.intake.globals import Grants
from deployments.intake.machine import Machine
from deployments.intake.refusals import refusal
from deployments.intake.skops_nodes import NODES
from deployments.intake.zip_container import unzip

SCHEMA = "schema.json"
#: The newest schema version of skops 0.16; older ones differ in nodes we build ourselves.
MAX_PROTOCOL = 2
_MAX_NODE_DEPTH = 150
_IN_PROGRESS = object()
_MAX_NAME = 256


def load_skops(content: bytes, grants: Grants, budget: Budget) -> Any:
    """
    The object that the schema describes.

    Raises:
        UploadRefused: gate1 for the container; gate2 for names, node kinds and arrays.
    """
    members = unzip(content, budget.limits)
    if SCHEMA not in members:
        raise refusal("gate1: the container has no schema.json", gate="gate1", reason="zip")
    try:
        schema = json.loads(members[SCHEMA])
    except RecursionError as error:
        raise _misshapen("the schema is nested too deep") from error
    if type(schema) is not dict:
        raise _misshapen("the schema is no object")
    protocol = schema.get("protocol")
    if type(protocol) is not int or not 0 <= protocol <= MAX_PROTOCOL:
        raise _misshapen(f"schema version {str(protocol)[:20]} is not one of 0 to {MAX_PROTOCOL}")
    return SkopsSchema(members, grants, budget).build(schema)


def _misshapen(what: str) -> Exception:
    return refusal(
        f"gate2: {what}: save the model again with skops 0.16",
        gate="gate2",
        reason="type",
    )


class SkopsSchema:
    """One schema being built: its members, its shared nodes, its budgets."""

    def __init__(self, members: dict[str, bytes], grants: Grants, budget: Budget) -> None:
        self.members = members
        self.grants = grants
        self.budget = budget
        #: What constructors ask for bytes and budgets; there is no stream behind it.
        self.machine = Machine(b"", grants, budget)
        self._built: dict[int, Any] = {}
        self._depth = 0
        self._nodes = 0

    def build(self, state: Any) -> Any:
        """
        The object of one node; nodes with one id are one object.

        Raises:
            UploadRefused: gate2, reason "type" for a node kind that is never built.
        """
        if type(state) is not dict:
            raise _misshapen("a node of the schema is no object")
        key = state.get("__id__")
        if type(key) is int and key in self._built:
            if self._built[key] is _IN_PROGRESS:
                raise _misshapen("a node of the schema contains itself")
            return self._built[key]
        handler = self._handler(state)
        if type(key) is int:
            self._built[key] = _IN_PROGRESS
        self._depth += 1
        value = handler(self, state)
        self._depth -= 1
        if type(key) is int:
            self._built[key] = value
        return value

    def _handler(self, state: dict[str, Any]) -> Callable[["SkopsSchema", dict[str, Any]], Any]:
        self._nodes += 1
        if self._nodes > self.budget.limits.max_schema_nodes or self._depth > _MAX_NODE_DEPTH:
            raise over("a schema that is too large or nested too deep")
        loader = state.get("__loader__")
        handler = NODES.get(loader) if type(loader) is str else None
        if handler is None:
            name = f"{str(state.get('__module__'))[:80]}.{str(state.get('__class__'))[:80]}"
            raise refusal(
                f"gate2: the file holds a {str(loader)[:40]} for {name!r}, which no model needs "
                "here: replace it by a scikit-learn transformer or a numpy function",
                gate="gate2",
                reason="type",
                name=name,
            )
        return handler

    def pair(self, state: dict[str, Any]) -> tuple[str, str]:
        """The (module, name) that a node says it is."""
        module, name = state.get("__module__"), state.get("__class__")
        if type(module) is not str or type(name) is not str or len(module + name) > _MAX_NAME:
            raise _misshapen("a node of the schema has no name")
        return module, name

    def member(self, state: dict[str, Any], suffix: str) -> bytes:
        """The bytes of the member that a node refers to."""
        name = state.get("file")
        if type(name) is not str or not name.endswith(suffix) or name not in self.members:
            raise _misshapen("a node of the schema refers to a member that is not there")
        return self.members[name]
