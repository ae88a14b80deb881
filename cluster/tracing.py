"""
Spans from the edge to the model, by OTLP over HTTP; without OTEL_EXPORTER_OTLP_ENDPOINT nothing.

Ray Serve makes a span of each request and of each call between replicas, continues the trace of a
caller's ``traceparent``, and asks ``span_processors`` where to send them.  Ours are the ones that
Serve cannot know: which requests travelled in one batch, and what the model itself took.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cluster.contracts import VersionRef
from cluster.errors import InsecureSettings
from cluster.setting_sources import Role, load_settings
from cluster.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Link

#: What RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH names.
EXPORTER = "cluster.tracing:span_processors"
SERVICE_NAME = "slipway"
_is_on = False


def tracing_environment(settings: Settings) -> dict[str, str]:
    """
    What Ray's processes must have in their environment for Serve to trace; empty if it is off.

    Raises:
        InsecureSettings: There is an endpoint, and not the extra that speaks to it.
    """
    endpoint = settings.otel_exporter_otlp_endpoint
    if not endpoint:
        return {}
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter.otlp") is None:
        raise InsecureSettings(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set and the exporter is not installed: "
            "pip install 'slipway[otel]', or unset it"
        )
    return {
        "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": EXPORTER,
        "RAY_SERVE_TRACING_SAMPLING_RATIO": str(settings.trace_sample_ratio),
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_SERVICE_NAME": SERVICE_NAME,
    }


def span_processors() -> "list[SpanProcessor]":
    """Where this process sends its spans: in batches, from a thread, dropped if nobody answers."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    global _is_on  # noqa: PLW0603 - one a process, as OpenTelemetry's own provider is
    _is_on = True
    endpoint = load_settings(Role.PREDICTOR).otel_exporter_otlp_endpoint.rstrip("/")
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=5)
    return [BatchSpanProcessor(exporter, schedule_delay_millis=1000)]


def current_trace() -> "Context | None":
    """The trace that this task's request belongs to; ``None`` where tracing is off."""
    if not _is_on:
        return None
    from opentelemetry.context import get_current

    return get_current()


def annotate(**attributes: str | int) -> None:
    """Say more about the current span."""
    if _is_on:
        from opentelemetry.trace import get_current_span

        get_current_span().set_attributes(_named(attributes))


@contextmanager
def span(name: str, **attributes: str | int) -> Iterator[None]:
    """A span of the current trace around the body; nothing where tracing is off."""
    if not _is_on:
        yield
        return
    with _started(name, (), attributes):
        yield


@contextmanager
def batch_span(
    traces: "Sequence[Context | None]", version: VersionRef, *, rows: int
) -> Iterator[None]:
    """
    A span around the call that carries these requests, in the trace of the first sampled one.

    The others' spans are linked, since a span has one parent and a batch has many.
    """
    known = [trace for trace in traces if trace is not None]
    if not known:
        yield
        return
    from opentelemetry.context import attach, detach
    from opentelemetry.trace import Link, get_current_span

    spans = [(get_current_span(trace).get_span_context(), trace) for trace in known]
    sampled = [each for each in spans if each[0].trace_flags.sampled]
    (_, parent), *others = sampled or spans
    # The lane's task began with some earlier request, whose trace is not this one's.
    token = attach(parent)
    attributes: dict[str, str | int] = {
        "model": version.model_id,
        "version": version.version,
        "rows": rows,
    }
    try:
        with _started("predict batch", [Link(context) for context, _ in others], attributes):
            yield
    finally:
        detach(token)


@contextmanager
def _started(
    name: str, links: "Sequence[Link]", attributes: dict[str, str | int]
) -> Iterator[None]:
    from opentelemetry.trace import get_tracer

    # An error's text may hold what the caller sent: the span's name is enough.
    with get_tracer(SERVICE_NAME).start_as_current_span(
        name,
        links=links,
        attributes=_named(attributes),
        record_exception=False,
        set_status_on_exception=False,
    ):
        yield


def _named(attributes: dict[str, str | int]) -> dict[str, str | int]:
    return {f"slipway.{name}": value for name, value in attributes.items()}
