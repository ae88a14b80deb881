"""The narrow port of what answers a batch, wherever it stands: adapter, retries or a test."""

from typing import Protocol

from cluster.contracts import PredictCall, PredictReply


class BatchPredictor(Protocol):
    """What answers a batch: the Predictors port, or the retries around it."""

    async def predict(self, call: PredictCall) -> PredictReply:
        """Answer one batch."""
        ...
