"""What the invitation service counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from convive_kit.metrics import SECONDS, Metrics
from convive_kit.readings import Declared, Samples
from convive_kit.runs import Run
from invitation.delivery.slots import Delivery
from invitation.lifecycle.invitation import Change
from invitation.lifecycle.states import State, Trigger

INVITATIONS = "invitations"
DUE = "due"
RUNS = "runs"
_READINGS = (
    Declared(
        INVITATIONS, "convive_invitations", "Invitations by state; counted more seldom the more there are.", ("state",)
    ),
    Declared(
        DUE, "convive_invitation_oldest_pending_age_seconds", "Age of the oldest invitation that is still to be sent."
    ),
    Declared(DUE, "convive_due_invitations", "Invitations at which something is due and not done; counted to 10,000."),
    Declared(DUE, "convive_due_lag_seconds", "How late the longest due of them is."),
    Declared(RUNS, "convive_runs", "Replays and bulk operations that have not ended.", ("kind", "status")),
    Declared(RUNS, "convive_run_items", "What those are about, and how far they have come.", ("kind", "outcome")),
)
_WAITS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 24 * 3600)


class InvitationMetrics(Metrics):
    """See `Metrics`."""

    def __init__(self) -> None:
        super().__init__("invitation", _READINGS)
        self._steps = cache(
            Counter(
                "convive_invitation_transitions",
                "Steps of invitations. Where `from` and `to` are the same, the step is history and changed no state.",
                ["trigger", "from", "to"],
                registry=self.registry,
            ).labels
        )
        self._to_sent = Histogram(
            "convive_invitation_event_to_sent_seconds",
            "From the event or call that asked for a link, or from the end of the quiet hours it came in, until the"
            " provider had taken the message with it.",
            buckets=_WAITS,
            registry=self.registry,
        )
        self._attempts = cache(
            Histogram(
                "convive_delivery_attempt_seconds",
                "Time to hand a message to its provider: `accepted`, `refused_for_now`, `refused_for_good`, `timeout`,"
                " `provider_away`, `not_tried`, `internal_error`.",
                ["channel", "outcome"],
                buckets=SECONDS,
                registry=self.registry,
            ).labels
        )
        self._breaker = Gauge(
            "convive_delivery_breaker_open",
            "1 while the channel's provider counts as down and is probed with one message at a time.",
            ["channel"],
            registry=self.registry,
        )
        self._slots = Gauge(
            "convive_delivery_slots", "Messages this process may send at the same time.", registry=self.registry
        )
        self._busy = Gauge(
            "convive_delivery_slots_busy", "Messages this process is sending now.", registry=self.registry
        )
        self._waiting = Gauge(
            "convive_delivery_waiting", "Messages claimed by this process that wait for a slot.", registry=self.registry
        )

    def attempted(self, channel: str, outcome: str, seconds: float) -> None:
        """An attempt came to its end: see `Delivery`."""
        self._attempts(channel, outcome).observe(seconds)

    def saved(self, change: Change) -> None:
        """A change was committed."""
        for step in change.steps:
            self._steps(step.trigger, step.from_.value, step.to.value).inc()
            sent = step.trigger == Trigger.ACCEPTED and step.from_ is State.PENDING and step.to is State.SENT
            if sent and (wanted := change.after.wanted_at) is not None:
                # Whoever asked to have it in the night after all has not waited.
                self._to_sent.observe(max((change.after.updated_at - wanted).total_seconds(), 0.0))

    def watch_delivery(self, delivery: Delivery, channels: Iterable[str]) -> None:
        """Tell of the slots and the providers from here on."""
        self._slots.set(delivery.slots)
        self._busy.set_function(lambda: float(delivery.busy))
        self._waiting.set_function(lambda: float(delivery.waiting))
        for channel in channels:
            self._breaker.labels(channel).set_function(lambda channel=channel: float(delivery.provider_away(channel)))


def run_samples(runs: Mapping[str, Iterable[Run]]) -> dict[str, Samples]:
    """Replays and bulk operations under way, by kind: how many, and how far they have come together."""
    number: dict[tuple[str, ...], float] = {}
    items: dict[tuple[str, ...], float] = {}
    for kind, found in runs.items():
        number |= {(kind, status): 0.0 for status in ("running", "paused")}
        items |= {(kind, outcome): 0.0 for outcome in ("matched", "done", "skipped", "failed")}
        for run in found:
            number[(kind, run.status)] += 1
            items[(kind, "matched")] += run.matched
            items[(kind, "done")] += run.done
            items[(kind, "skipped")] += sum(run.skipped.values())
            items[(kind, "failed")] += run.failed
    return {"convive_runs": number, "convive_run_items": items}
