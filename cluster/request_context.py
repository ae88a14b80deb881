"""The request id that every log line and error body of one request carries."""

from contextvars import ContextVar

#: Set by the outermost middleware in the Ingress, by each call in Loader and Predictor.
request_id_var: ContextVar[str] = ContextVar("slipway_request_id", default="")
