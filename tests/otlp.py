"""A receiver of OpenTelemetry's OTLP over HTTP, for tests: what is exported to it can be looked at."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

OURS = "hybrid_hpc."


@dataclass
class Received:
    """All spans and our metrics, in the order in which they came."""

    url: str = ""
    metrics: list[Metric] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    def points(self, name: str) -> list[dict[str, Any]]:
        """The attributes of every point of a metric."""
        named = [metric for metric in list(self.metrics) if metric.name == name]
        data = [getattr(metric, metric.WhichOneof("data") or "sum") for metric in named]
        return [attributes(point.attributes) for each in data for point in each.data_points]

    def of_run(self, run_id: str) -> list[Span]:
        """Every span of the traces in which a span names that run."""
        traces = {
            span.trace_id
            for span in list(self.spans)
            if attributes(span.attributes).get("airflow.dag_run.run_id") == run_id
        }
        return [span for span in list(self.spans) if span.trace_id in traces]


def exports_to(received: Received) -> dict[str, str]:
    """The settings of docs/operating.md, with which Airflow exports everything to it."""
    return {
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "AIRFLOW__TRACES__OTEL_ON": "True",
        "OTEL_TRACES_EXPORTER": "otlp_proto_http",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": received.url,
        "OTEL_METRIC_EXPORT_INTERVAL": "10000",  # milliseconds
    }


def attributes(pairs: Any) -> dict[str, Any]:
    """As a plain mapping."""
    return {pair.key: _value(pair) for pair in pairs}


def _value(pair: KeyValue) -> Any:
    kind = pair.value.WhichOneof("value")
    return getattr(pair.value, kind) if kind else None


@contextmanager
def receiver() -> Iterator[Received]:
    """Listens on loopback until the block ends."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            _take(received, self.path, body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _take(received: Received, path: str, body: bytes) -> None:
    if path.endswith("/metrics"):
        told = ExportMetricsServiceRequest.FromString(body)
        for resource in told.resource_metrics:
            for scope in resource.scope_metrics:
                received.metrics.extend(each for each in scope.metrics if each.name.startswith(OURS))
    else:
        traced = ExportTraceServiceRequest.FromString(body)
        for spans in traced.resource_spans:
            for scoped in spans.scope_spans:
                received.spans.extend(scoped.spans)
