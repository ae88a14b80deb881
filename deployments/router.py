"""
Sends calls for one model version to the same Predictors, in an order that needs no state.

Rendezvous hashing: every ingress ranks the replicas of a version alike, a full first choice
spills to the next, and a replica that comes or goes moves only its own versions.  One that was sent
a call and does not answer comes last.
"""

import hashlib
from collections.abc import Sequence

from ray.serve.request_router import (
    FIFOMixin,
    PendingRequest,
    ReplicaID,
    RequestRouter,
    RunningReplica,
)

from deployments import predictor_count, silence


class ModelAffinityRouter(FIFOMixin, RequestRouter):  # type: ignore[misc]  # Ray ships no types
    """Ranks replicas by the version in the call's ``multiplexed_model_id``."""

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """Groups in order of preference; Serve takes the first that has room."""
        predictor_count.note(len(candidate_replicas))
        affinity = pending_request.metadata.multiplexed_model_id if pending_request else ""
        if not affinity or len(candidate_replicas) < 2:  # noqa: PLR2004
            return [candidate_replicas]
        by_id = {replica.replica_id.unique_id: replica for replica in candidate_replicas}
        order = sorted(ranked(affinity, list(by_id)), key=silence.predictors.is_silent)
        return [[by_id[replica_id]] for replica_id in order]

    def on_send_request(self, replica_id: ReplicaID) -> None:
        """Serve's own count, and the time."""
        super().on_send_request(replica_id)
        silence.predictors.sent(replica_id.unique_id)


def ranked(affinity: str, replica_ids: Sequence[str]) -> list[str]:
    """The replicas in order of preference for ``affinity``; the same everywhere."""
    return sorted(replica_ids, key=lambda replica_id: _score(affinity, replica_id))


def _score(affinity: str, replica_id: str) -> bytes:
    return hashlib.blake2b(f"{affinity}|{replica_id}".encode(), digest_size=8).digest()
