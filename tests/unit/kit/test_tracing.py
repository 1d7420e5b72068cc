"""Spans: what they carry on, and what they keep to themselves."""

from __future__ import annotations

import sys

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from convive_kit import tracing
from convive_kit.errors import Retry

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "tracestate": "theirs=1"}


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracing", tracing._Tracing(provider))
    return exporter


def context_of(span: ReadableSpan) -> SpanContext:
    assert span.context is not None
    return span.context


def test_without_traces_there_is_one_span_for_all_and_nothing_to_carry_on() -> None:
    assert not tracing.is_on()
    with tracing.span("anything", parent=PARENT) as span:
        span.set("convive.channel", "email")
        assert span is tracing.NO_SPAN
        assert tracing.carrier() == tracing.ids() == {}


def test_a_span_goes_on_with_the_trace_of_its_parent_and_hands_it_on(exported: InMemorySpanExporter) -> None:
    with tracing.span("outer", "consumer", parent=PARENT):
        outer = tracing.carrier()
        with tracing.span("inner"):
            inner = tracing.carrier()
            assert tracing.ids()["trace_id"] == TRACE
    assert outer["traceparent"].split("-")[1] == inner["traceparent"].split("-")[1] == TRACE
    assert outer["traceparent"] != inner["traceparent"]
    assert outer["tracestate"] == "theirs=1"
    assert tracing.carrier() == {}
    assert [span.name for span in exported.get_finished_spans()] == ["inner", "outer"]


@pytest.mark.parametrize(
    "parent", [{}, {"traceparent": "nonsense"}, {"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"}]
)
def test_a_parent_that_names_no_trace_begins_one_even_within_another(
    exported: InMemorySpanExporter, parent: dict[str, str]
) -> None:
    with tracing.span("outer"), tracing.span("inner", parent=parent):
        pass
    inner, outer = exported.get_finished_spans()
    assert inner.parent is None
    assert context_of(inner).trace_id != context_of(outer).trace_id


def test_a_trace_state_without_measure_is_not_carried_on(exported: InMemorySpanExporter) -> None:
    with tracing.span("handled", parent=PARENT | {"tracestate": f"theirs={'x' * 250},more={'x' * 250},yet={'x' * 50}"}):
        assert set(tracing.carrier()) == {"traceparent"}


def test_of_an_error_only_its_kind_is_told(exported: InMemorySpanExporter) -> None:
    class MailServerAway(Retry):
        """550 no such user jeanne@example.com."""

        slug = "mail_server_away"

    for error in (MailServerAway(), ValueError("jeanne@example.com")):
        with pytest.raises(type(error)), tracing.span("attempt"):
            raise error
    spans = exported.get_finished_spans()
    assert [span.status.description for span in spans] == ["mail_server_away", "ValueError"]
    assert not any(span.events for span in spans)
    assert "jeanne" not in "".join(span.to_json() for span in spans)


def test_a_group_is_linked_with_those_that_wait_for_it(exported: InMemorySpanExporter) -> None:
    with tracing.span("save") as one, tracing.span("save") as other:
        with tracing.shared("group commit", [one, other, tracing.NO_SPAN]):
            pass
    group, *saves = exported.get_finished_spans()
    assert {link.context.span_id for link in group.links} == {context_of(save).span_id for save in saves}
    assert group.parent is None
    assert tracing.shared("group commit", [tracing.NO_SPAN]) is tracing.NO_SPAN


def test_a_step_is_told_only_within_something(exported: InMemorySpanExporter) -> None:
    assert tracing.step("save") is tracing.NO_SPAN
    with tracing.span("handled"), tracing.step("save"):
        pass
    assert [span.name for span in exported.get_finished_spans()] == ["save", "handled"]


def test_without_the_packages_an_endpoint_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SystemExit) as left:
        tracing.configure("http://127.0.0.1:9", service="sample", ratio=1.0)
    assert left.value.code == 2
    assert "convive[traces]" in capsys.readouterr().err
    assert not tracing.is_on()
