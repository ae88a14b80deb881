"""skops nodes that hold instances: estimators, compiled trees, distances, losses, random states."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn._loss._loss import CyHalfMultinomialLoss

from deployments.intake.build_state import fill
from deployments.intake.constructors import natives, random_states
from deployments.intake.constructors.checks import wrong
from deployments.intake.refusals import unlisted
from deployments.intake.tokens import ClassToken, ConstructorToken, Pending

if TYPE_CHECKING:
    from deployments.intake.skops_reader import SkopsSchema

_LOSSES = {(cls.__module__, cls.__qualname__): cls for cls in natives.LOSSES}
_MULTINOMIAL = (CyHalfMultinomialLoss.__module__, CyHalfMultinomialLoss.__qualname__)
_TREE = ("sklearn.tree._tree", "Tree")


def _object(schema: "SkopsSchema", state: dict[str, Any]) -> Any:
    pair = schema.pair(state)
    found = schema.grants.find(*pair)
    if isinstance(found, type) and found in natives.NEIGHBOUR_TREES:
        return natives.make_neighbour_tree(found, schema.build(state["content"]))
    if isinstance(found, type) and found in natives.DISTANCES:
        return natives.make_distance(found, schema.build(state["content"]))
    if type(found) is not ClassToken:
        raise unlisted(".".join(pair))
    made = schema.grants.instance(schema.machine, found, ())
    content = state.get("content")
    if content is None:
        return made
    value = schema.build(content)
    if type(made) is Pending:
        return made.finish(schema.machine, value)
    if value is not None:
        fill(schema.grants, made, value)
    return made


def _tree(schema: "SkopsSchema", state: dict[str, Any]) -> Any:
    if schema.pair(state) != _TREE:
        raise unlisted(".".join(schema.pair(state)))
    args = schema.build(state["__reduce__"]["args"])
    if type(args) is not tuple:
        raise wrong(natives.TREE, "takes three arguments", reason="tree")
    return natives.tree(schema.machine, args).finish(schema.machine, schema.build(state["content"]))


def _loss(schema: "SkopsSchema", state: dict[str, Any]) -> Any:
    pair = schema.pair(state)
    args = schema.build(state["__reduce__"]["args"])
    rest = schema.build(state["content"]) if "content" in state else None
    if rest not in (None, {}, ()) or type(args) is not tuple:
        raise wrong(".".join(pair), "its state has another form", reason="native")
    if pair == _MULTINOMIAL and args == ():
        return CyHalfMultinomialLoss()
    if pair not in _LOSSES:
        raise unlisted(".".join(pair))
    return natives.make_loss(_LOSSES[pair], args)


def _constructed(schema: "SkopsSchema", state: dict[str, Any]) -> Any:
    pair = schema.pair(state)
    token = schema.grants.find(*pair)
    args = schema.build(state["content"])
    if type(token) is not ConstructorToken or type(args) is not tuple:
        raise unlisted(".".join(pair), reason="type")
    made = token.build(schema.machine, args)
    if type(made) is Pending:
        raise wrong(token.name, "its state is missing")
    return made


def _random_state(schema: "SkopsSchema", state: dict[str, Any]) -> np.random.RandomState:
    return random_states.legacy_state(schema.build(state["content"]))


def _generator(schema: "SkopsSchema", state: dict[str, Any]) -> np.random.Generator:
    numbers = schema.build(state["content"]["bit_generator"])
    kind = str(numbers.get("bit_generator")) if type(numbers) is dict else ""
    classes: dict[str, Any] = {"MT19937": np.random.MT19937, "PCG64": np.random.PCG64}
    if kind not in classes:
        raise wrong(random_states.GENERATOR, "is neither MT19937 nor PCG64", reason="native")
    generator = classes[kind](0)
    generator.state = random_states.check_state(numbers, kind)
    return np.random.Generator(generator)


OBJECT_NODES: dict[str, Callable[["SkopsSchema", dict[str, Any]], Any]] = {
    "ObjectNode": _object,
    "TreeNode": _tree,
    "LossNode": _loss,
    "ConstructorFromReduceNode": _constructed,
    "RandomStateNode": _random_state,
    "RandomGeneratorNode": _generator,
}
