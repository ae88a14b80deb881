"""What is known of the request that is being handled, for whoever writes about it."""

from contextvars import ContextVar

#: Set by the outermost middleware in the Ingress, by each call in Loader and Predictor; there it
#: may name several that travel in one batch, separated by commas, which no id contains.
request_id_var: ContextVar[str] = ContextVar("slipway_request_id", default="")


class RequestFacts:
    """What came to light while one request was handled; ids alone, never a secret."""

    __slots__ = ("key_id", "model_id", "route", "user_id", "version")

    def __init__(self) -> None:
        self.route: str | None = None
        """Template of the route, such as ``/api/v1/models/{model}/predict``."""
        self.user_id: str | None = None
        self.key_id: str | None = None
        self.model_id: str | None = None
        self.version: int | None = None


#: One object a request, filled on the way; ``None`` outside of an HTTP request.
request_facts_var: ContextVar[RequestFacts | None] = ContextVar(
    "slipway_request_facts", default=None
)


def enter_request(request_id: str, model_id: str | None = None, version: int | None = None) -> None:
    """Let this task know for which request it works, in a replica that others call."""
    request_id_var.set(request_id)
    facts = RequestFacts()
    facts.model_id, facts.version = model_id, version
    request_facts_var.set(facts)
