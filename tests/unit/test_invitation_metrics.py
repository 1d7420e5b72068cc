"""What becomes of a committed change in the numbers."""

from __future__ import annotations

from prometheus_client.exposition import generate_latest

from convive_kit.runs import Run
from invitation.lifecycle.invitation import Change, Invitation
from invitation.metrics import InvitationMetrics, run_samples
from tests.unit.lifecycle.making import NOW, POLICY, a_cause, a_pending, done, later


def sent(invitation: Invitation, *, after_seconds: float) -> Change:
    return invitation.accepted(invitation.send_sequence, a_cause(later(seconds=after_seconds)), POLICY)


def told_of(*changes: Change) -> str:
    metrics = InvitationMetrics()
    for change in changes:
        metrics.saved(change)
    return generate_latest(metrics.registry).decode()


def test_the_wait_counts_from_the_request_to_the_providers_yes() -> None:
    text = told_of(sent(a_pending(), after_seconds=40))
    assert "convive_invitation_event_to_sent_seconds_sum 40.0" in text
    assert 'convive_invitation_transitions_total{from="pending",to="sent",trigger="accepted"} 1.0' in text


def test_a_new_link_for_an_old_invitation_counts_from_when_it_was_asked_for() -> None:
    old = sent(a_pending(), after_seconds=1).after
    again = done(old.resent(None, a_cause(later(days=3)), POLICY))
    text = told_of(sent(again, after_seconds=3 * 24 * 3600 + 5))
    assert "convive_invitation_event_to_sent_seconds_sum 5.0" in text


def test_a_moved_expiry_is_no_wait_and_a_repeated_outcome_none_either() -> None:
    extended = done(a_pending().extended(later(days=30), a_cause(), POLICY))
    first = sent(a_pending(), after_seconds=1).after
    text = told_of(sent(extended, after_seconds=9), sent(first, after_seconds=99))
    assert "convive_invitation_event_to_sent_seconds_count 1.0" in text
    assert "convive_invitation_event_to_sent_seconds_sum 9.0" in text
    assert 'convive_invitation_transitions_total{from="sent",to="sent",trigger="accepted"} 1.0' in text


def test_runs_under_way_are_summed_by_kind_and_a_kind_without_any_is_zero() -> None:
    fields = {"filter": {}, "dry_run": False, "rate": None, "reason": "test", "actor": "test", "created_at": NOW}
    runs = [
        Run(id="a", matched=10, done=4, skipped={"active": 1, "gone": 2}, **fields),
        Run(id="b", matched=5, status="paused", failed=1, **fields),
    ]
    samples = run_samples({"bulk": runs, "replay": []})
    assert samples["convive_runs"]["bulk", "running"] == samples["convive_runs"]["bulk", "paused"] == 1
    items = samples["convive_run_items"]
    assert [items["bulk", what] for what in ("matched", "done", "skipped", "failed")] == [15, 4, 3, 1]
    assert items["replay", "matched"] == 0
