"""Which trace a batch belongs to, what a span may say, and that nothing is paid while it is off."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanProcessor

from cluster import tracing
from cluster.errors import InsecureSettings
from cluster.settings import Settings
from tests.collectors import Collector, collector
from tests.unit.serve_app.predicting import version_ref

CANARY = "canary-3b9d77"
#: Once a process: OpenTelemetry takes no second provider.
PROVIDER = TracerProvider()


@pytest.fixture
def otlp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that this process traces to."""
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setattr(tracing, "_is_on", False)
    if trace.get_tracer_provider() is not PROVIDER:
        trace.set_tracer_provider(PROVIDER)
    with collector() as made:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
        (processor,) = tracing.span_processors()
        PROVIDER.add_span_processor(processor)
        yield made
        remove(processor)


def remove(processor: SpanProcessor) -> None:
    processor.shutdown()
    kept = PROVIDER._active_span_processor._span_processors
    PROVIDER._active_span_processor._span_processors = tuple(p for p in kept if p is not processor)


def spans(otlp: Collector) -> dict[str, dict[str, Any]]:
    PROVIDER.force_flush()
    return {span["name"]: span for span in otlp.spans()}


def request(name: str) -> Context:
    """The context of a request's own span, which has ended."""
    with trace.get_tracer("test").start_as_current_span(name):
        current = tracing.current_trace()
    assert current is not None
    return current


def test_a_batch_is_in_its_first_requests_trace_and_linked_to_the_others(otlp: Collector) -> None:
    first, second = request("first"), request("second")

    batch_of = tracing.batch_span([first, second], version_ref("m", 3), rows=7)
    with batch_of, tracing.span("model", method="predict"):
        pass

    found = spans(otlp)
    batch = found["predict batch"]
    assert batch["traceId"] == found["first"]["traceId"] == found["model"]["traceId"]
    assert batch["parentSpanId"] == found["first"]["spanId"]
    assert [link["spanId"] for link in batch["links"]] == [found["second"]["spanId"]]
    said = {each["key"]: each["value"] for each in batch["attributes"]}
    assert said == {
        "slipway.model": {"stringValue": "m"},
        "slipway.version": {"intValue": "3"},
        "slipway.rows": {"intValue": "7"},
    }


def test_a_batch_is_not_in_the_trace_that_its_task_began_in(otlp: Collector) -> None:
    earlier = trace.get_tracer("test").start_as_current_span("an earlier request")
    with earlier, tracing.batch_span([request("this one")], version_ref(), rows=1):
        pass

    found = spans(otlp)
    assert found["predict batch"]["traceId"] == found["this one"]["traceId"]


def test_a_span_tells_no_errors_text(otlp: Collector) -> None:
    with pytest.raises(ValueError, match=CANARY), tracing.span("model", method="predict"):
        raise ValueError(CANARY)

    assert set(spans(otlp)) == {"model"}
    assert CANARY not in json.dumps(otlp.spans())


def test_without_an_endpoint_nothing_is_imported_or_made() -> None:
    probe = (
        "import sys\n"
        "from cluster.tracing import annotate, batch_span, current_trace, span\n"
        "with span('model'), batch_span([current_trace()], None, rows=1):\n"
        "    annotate(model='m')\n"
        "print('opentelemetry' in sys.modules, current_trace())"
    )
    said = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert said.stdout.split() == ["False", "None"]


def test_rays_processes_are_told_where_to_send_spans() -> None:
    settings = Settings(
        _env_file=None, otel_exporter_otlp_endpoint="http://c:4318", trace_sample_ratio=0.5
    )

    assert tracing.tracing_environment(settings) == {
        "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": "cluster.tracing:span_processors",
        "RAY_SERVE_TRACING_SAMPLING_RATIO": "0.5",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318",
        "OTEL_SERVICE_NAME": "slipway",
    }
    assert tracing.tracing_environment(Settings(_env_file=None)) == {}


def test_an_endpoint_without_the_extra_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "find_spec", lambda _name: None)

    with pytest.raises(InsecureSettings, match=r"slipway\[otel\]"):
        tracing.tracing_environment(
            Settings(_env_file=None, otel_exporter_otlp_endpoint="http://c:4318")
        )
