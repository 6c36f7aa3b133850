"""Traces for OpenTelemetry, where the setting `otlp_url` asks for them: a span for each request, and one for each stage.

Spans are named after routes and stages, and hold no id of a customer and no text.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from stores.settings import BadSetting, Settings

Span = AbstractContextManager[object]

Answered = Callable[[str, str, int], None]
"""Told a request's method, route and status, once they are known."""

SERVICE = "campaigns-api"


class Tracing:
    """Sends spans to the collector at `otlp_url`, in the background."""

    def __init__(self, settings: Settings) -> None:
        """Sets the exporter up.

        Raises:
            BadSetting: the packages of the extra `telemetry` are not installed.
        """
        try:
            from opentelemetry import propagate, trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as exc:
            raise BadSetting(f"CAMPAIGNS_OTLP_URL: traces need the packages of the extra `telemetry` ({exc.name} is missing)") from None
        self._provider = TracerProvider(resource=Resource({"service.name": SERVICE}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{settings.otlp_url.rstrip('/')}/v1/traces")))
        self._tracer = self._provider.get_tracer(SERVICE)
        self._extract, self._kind, self._status = propagate.extract, trace.SpanKind.SERVER, trace.StatusCode.ERROR

    def span(self, name: str) -> Span:
        """A span under the one that is current."""
        return self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False)

    @contextmanager
    def request(self, headers: Mapping[bytes, bytes]) -> Iterator[Answered]:
        """The span of a request, under that of its caller."""
        carrier = {name.decode("latin-1"): headers[name].decode("latin-1") for name in (b"traceparent", b"tracestate") if name in headers}
        with self._tracer.start_as_current_span("request", context=self._extract(carrier), kind=self._kind) as span:

            def answered(method: str, route: str, status: int) -> None:
                span.update_name(f"{method} {route}")
                span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
                if status >= 500:
                    span.set_status(self._status)

            yield answered

    def close(self) -> None:
        """Sends what was not sent yet."""
        self._provider.shutdown()
