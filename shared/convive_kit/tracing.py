"""Traces (OpenTelemetry) for whoever sets CONVIVE_OTLP_ENDPOINT. For everybody else nothing is imported and every call
here returns at once.

The spans are placed by hand. The instrumentations that exist record paths, and link tokens are in paths; queries, and
addresses are in queries; exceptions with their texts, and servers' replies are in those. Ours carry route templates,
event types, ids and outcomes, and of an exception its kind.

Like the logs, this is configured once, by `main`, for the whole process.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from convive_kit.version import installed_version

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OfOpenTelemetry
    from opentelemetry.trace import Tracer

Kind = Literal["internal", "server", "client", "producer", "consumer"]
_CARRIED = ("traceparent", "tracestate")
"""W3C Trace Context; in events the attributes of CloudEvents' Distributed Tracing extension."""
_LONGEST = 512
"""Characters of each that anybody outside may have us carry on."""
_EXPORT_TIMEOUT = 5.0
_FLUSH_TIMEOUT = 2.0


class Span:
    """One step of a trace. This one is what there is without traces: it keeps nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        pass

    def set(self, name: str, value: str | int | bool) -> None:
        """Note something of it: nothing private, and nothing that somebody else wrote."""

    def failed(self, why: str) -> None:
        """It came to no good end; `why` is a stable name and never a message."""


NO_SPAN = Span()


class _Tracing:
    """What there is while traces are on."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.provider = provider
        self.tracer: Tracer = provider.get_tracer("convive", installed_version())
        self.propagator = TraceContextTextMapPropagator()


_tracing: _Tracing | None = None


class _Live(Span):
    def __init__(
        self, on: _Tracing, name: str, kind: Kind, parent: Mapping[str, str] | None, links: Iterable[_Live] = ()
    ) -> None:
        from opentelemetry.context import Context
        from opentelemetry.trace import Link, SpanKind

        # Without a parent, the current span is the parent; a parent that names none begins a trace.
        context: Context | None = None
        if parent is not None:
            carried = {key: parent[key] for key in _CARRIED if len(parent.get(key, "")) in range(1, _LONGEST + 1)}
            context = on.propagator.extract(carried, Context())
        linked = [Link(other.span.get_span_context()) for other in links]
        self.span: OfOpenTelemetry = on.tracer.start_span(
            name,
            context,
            kind=SpanKind[kind.upper()],
            links=linked,
            record_exception=False,
            set_status_on_exception=False,
        )
        self._token: Any = None

    def __enter__(self) -> Self:
        from opentelemetry import context, trace

        self._token = context.attach(trace.set_span_in_context(self.span))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        from opentelemetry import context

        if error is not None:
            self.failed(str(getattr(error, "slug", type(error).__name__)))
        context.detach(self._token)
        self.span.end()

    def set(self, name: str, value: str | int | bool) -> None:
        self.span.set_attribute(name, value)

    def failed(self, why: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self.span.set_status(Status(StatusCode.ERROR, why))


def configure(endpoint: str | None, *, service: str, ratio: float) -> None:
    """Have spans exported to `endpoint` (OTLP over HTTP), `ratio` of the traces; nothing is done without an endpoint.
    Where the packages are missing, says so on stderr and exits with 2."""
    if endpoint is None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError:
        sys.stderr.write("CONVIVE_OTLP_ENDPOINT is set, and packages for it are missing: install convive[traces].\n")
        raise SystemExit(2) from None
    # By the id of the trace, so that both services keep the same ones, whatever a caller from outside asks for.
    ours = TraceIdRatioBased(ratio)
    provider = TracerProvider(
        sampler=ParentBased(ours, remote_parent_sampled=ours),
        resource=Resource.create({"service.name": f"convive-{service}", "service.version": installed_version()}),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_TIMEOUT)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    global _tracing
    _tracing = _Tracing(provider)


def is_on() -> bool:
    """Whether there are traces."""
    return _tracing is not None


async def flush() -> None:
    """Export what has not been, as far as that takes no longer than two seconds. The last thing a process does."""
    if _tracing is not None:
        # A thread of its own that nobody waits for: a collector that is away must not hold up the end.
        thread = Thread(target=_tracing.provider.shutdown, daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, _FLUSH_TIMEOUT)


def span(name: str, kind: Kind = "internal", *, parent: Mapping[str, str] | None = None) -> Span:
    """A span for a `with`. Without `parent` it belongs to the current one; with one, to the trace that `traceparent` in
    there names, or to a new one. `name` is one of few."""
    return NO_SPAN if _tracing is None else _Live(_tracing, name, kind, parent)


def step(name: str, kind: Kind = "internal") -> Span:
    """A span within the current one; nothing where there is none."""
    return _Live(_tracing, name, kind, None) if _tracing is not None and ids() else NO_SPAN


def shared(name: str, waiting: Iterable[Span]) -> Span:
    """A span of its own trace for what several wait for, linked with each; nothing where none of them is traced."""
    if _tracing is None or not (traced := [span for span in waiting if isinstance(span, _Live)]):
        return NO_SPAN
    return _Live(_tracing, name, "client", {}, traced)


def carrier() -> dict[str, str]:
    """What hands the current trace on: `traceparent`, perhaps `tracestate`, or nothing."""
    carried: dict[str, str] = {}
    if _tracing is not None:
        _tracing.propagator.inject(carried)
    return carried


def ids() -> dict[str, str]:
    """The ids of the current trace and span, for the log."""
    if _tracing is None:
        return {}
    from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

    context = get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}
