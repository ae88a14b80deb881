"""A fitted estimator or pipeline to a ``CompiledModel``, or the reason why it has none."""

from deployments.engines.base import Estimator
from deployments.engines.compile_linear import compile_linear
from deployments.engines.compile_steps import NotCompilable, compile_step
from deployments.engines.compile_trees import compile_trees
from deployments.engines.compiled import CompiledModel, Head, prepared_width
from deployments.engines.linear import TransformHead
from deployments.engines.steps import Step
from deployments.engines.trees import TreesHead

#: Steps whose last bits depend on how many rows are multiplied at once.
_INEXACT = frozenset({"project"})


def compile_model(estimator: Estimator, width: int) -> CompiledModel:
    """
    The compiled form of an estimator that takes a float64 matrix of ``width`` columns.

    Raises:
        NotCompilable: There is none that is exact; the message says which part.
        ArtifactCorrupt: A node table points outside itself.
    """
    parts = flat_steps(estimator)
    steps: list[Step] = []
    for part in parts[:-1]:
        steps += compile_step(part)
    inner = prepared_width(tuple(steps), width)
    more, head = _compile_head(parts[-1], inner)
    if isinstance(head, TreesHead) and any(step.operation in _INEXACT for step in steps):
        raise NotCompilable("thresholds after a projection have no exact compiled form")
    steps += more
    prepared_width(tuple(steps), width)
    return CompiledModel(width=width, steps=tuple(steps), head=head)


def flat_steps(estimator: Estimator) -> list[Estimator]:
    """The estimators of a pipeline in order, nested pipelines unfolded; at least one."""
    if type(estimator).__name__ != "Pipeline" or not hasattr(estimator, "steps"):
        return [estimator]
    return [part for _, step in estimator.steps for part in flat_steps(step)]


def _compile_head(estimator: Estimator, width: int) -> tuple[list[Step], Head]:
    linear = compile_linear(estimator)
    if linear is not None:
        return [], linear
    trees = compile_trees(estimator, width)
    if trees is not None:
        return trees
    return compile_step(estimator), TransformHead()
