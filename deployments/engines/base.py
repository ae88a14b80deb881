"""What every engine is: a way to answer a batch for some of a version's methods."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import Batch, Method

#: A scikit-learn object; the library ships no types.
Estimator = Any
#: (rows, features), C-contiguous.
Matrix = NDArray[np.float64]
#: An answer as ``PredictReply.values`` describes it.
Values = NDArray[Any]


class Engine(Protocol):
    """Answers batches of one version; pure, hence safe to call from several threads."""

    @property
    def name(self) -> str:
        """``native``, ``linear``, ``trees`` or ``onnx``."""
        ...

    @property
    def methods(self) -> frozenset[Method]:
        """The methods that ``run`` takes."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Bytes that are freed when the engine goes."""
        ...

    def run(self, method: Method, batch: Batch) -> Values:
        """
        Answer all rows of a batch.

        Raises:
            PredictionFailed: The model raised; the library's text is in ``library_text``.
        """
        ...
