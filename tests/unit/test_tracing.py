"""Traces, to a collector that is an HTTP server of this test."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
from litestar import Litestar, get
from litestar.params import FromPath
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from retrieval.entrance import Entrance
from retrieval.limits import Limits
from retrieval.meters import Meters
from retrieval.tracing import Tracing
from stores.counters import Counters
from stores.settings import Settings

PARENT = "4bf92f3577b34da6a3ce929d0e0e4736"


@contextmanager
def collector() -> Iterator[tuple[str, list[Span]]]:
    """An address that takes traces, and the spans that came."""
    spans: list[Span] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            spans.extend(span for resource in sent.resource_spans for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Taking)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_request_and_its_stages_are_spans_under_the_callers_and_name_no_customer() -> None:
    with collector() as (url, spans):
        settings = Settings(otlp_url=url)
        tracing = Tracing(settings)
        meters = Meters(tracing)

        @get("/recommendations/{user_id:str}")
        async def answer(user_id: FromPath[str]) -> str:
            with meters.stage("around"):
                return user_id

        app = Litestar([answer], openapi_config=None)
        app.asgi_handler = Entrance(
            app.asgi_handler, settings=settings, public=set(), limits=Limits(Counters(settings)), meters=meters, tracing=tracing
        )

        async def ask() -> None:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
                await client.get("/recommendations/u_secret?q=secret", headers={"traceparent": f"00-{PARENT}-00f067aa0ba902b7-01"})

        asyncio.run(ask())
        tracing.close()
    stage, request = sorted(spans, key=lambda span: span.name == "GET /recommendations/{user_id}")
    assert (stage.name, stage.parent_span_id) == ("around", request.span_id)
    assert (request.name, request.trace_id.hex()) == ("GET /recommendations/{user_id}", PARENT)
    assert "secret" not in str(spans)
