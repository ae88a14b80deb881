"""
A compiled model: preparation steps and a head, as one engine.

It needs neither scikit-learn nor unpickling: the only kind of engine that may run beside secrets.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import Batch, CompiledForm, JsonObject, Method
from cluster.errors import ArtifactCorrupt, InvalidInput
from deployments.engines.base import Values
from deployments.engines.container import pack, unpack
from deployments.engines.linear import LinearHead, TransformHead
from deployments.engines.steps import Step, apply_steps, steps_from_arrays, steps_to_arrays
from deployments.engines.trees import TreesHead

Head = LinearHead | TransformHead | TreesHead
CompiledName = Literal["linear", "trees"]
_HEADS: Mapping[str, type[Head]] = {
    "linear": LinearHead,
    "transform": TransformHead,
    "trees": TreesHead,
}
#: A request that costs more than this is not for a process that answers others meanwhile.
SHORT_PATH_COST_S = 200e-6
#: Beside the arrays: the objects that hold them.
_OVERHEAD_BYTES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledModel:
    """Steps, then a head, over a float64 matrix of ``width`` columns."""

    width: int
    steps: tuple[Step, ...]
    head: Head

    @property
    def name(self) -> CompiledName:
        """The engine's name in a version's record."""
        return "trees" if isinstance(self.head, TreesHead) else "linear"

    @property
    def methods(self) -> frozenset[Method]:
        """The methods that the head answers."""
        return self.head.methods

    @property
    def memory_bytes(self) -> int:
        """Bytes of all arrays, and a little for what holds them."""
        _, arrays = self._parts()
        return _OVERHEAD_BYTES + sum(array.nbytes for array in arrays.values())

    def run(self, method: Method, batch: Batch) -> Values:
        """
        Answer all rows of a batch.

        Raises:
            InvalidInput: The batch is not a matrix of this model's width.
            PredictionFailed: A number is too large for the model's arithmetic.
        """
        matrix = batch.matrix
        if matrix is None or matrix.shape[1] != self.width:
            raise InvalidInput(f"this model takes rows of {self.width} numbers")
        # Overflow is found by its result; warnings would only repeat it on stderr.
        with np.errstate(all="ignore"):
            return self.head.run(method, apply_steps(self.steps, matrix))

    def dump(self) -> bytes:
        """The model as a container that ``load`` reads."""
        meta, arrays = self._parts()
        return pack(meta, arrays)

    def _parts(self) -> tuple[JsonObject, dict[str, NDArray[Any]]]:
        described, arrays = steps_to_arrays(self.steps)
        head_meta, head_arrays = self.head.to_arrays()
        kind = next(kind for kind, cls in _HEADS.items() if isinstance(self.head, cls))
        meta = {"width": self.width, "steps": described, "kind": kind, "head": head_meta}
        return meta, arrays | head_arrays

    @classmethod
    def load(cls, content: bytes) -> Self:
        """
        A model from a container, every index and shape of which has been checked.

        Raises:
            ArtifactCorrupt: The bytes are not such a container, or its parts do not agree.
        """
        meta, arrays = unpack(content)
        width, kind = meta.get("width"), meta.get("kind")
        if type(width) is not int or width < 1 or kind not in _HEADS:
            raise ArtifactCorrupt("the compiled model is of an unknown kind")
        steps = steps_from_arrays(meta.get("steps"), arrays)
        inner = prepared_width(steps, width)
        head_meta = meta.get("head")
        if not isinstance(head_meta, dict):
            raise ArtifactCorrupt("the compiled model has no head")
        head = _HEADS[str(kind)].from_arrays(head_meta, arrays, inner)
        return cls(width=width, steps=steps, head=head)


def prepared_width(steps: tuple[Step, ...], width: int) -> int:
    """
    Columns after all steps.

    Raises:
        ArtifactCorrupt: A step does not fit.
    """
    for step in steps:
        width = step.width_after(width)
    return width


def compiled_form(content: bytes) -> CompiledForm:
    """What ``dump`` gave, with its digest."""
    digest = hashlib.sha256(content).hexdigest()
    return CompiledForm(sha256=digest, size_bytes=len(content), content=content)
