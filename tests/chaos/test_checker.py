"""The checker notices what it is there for: each test breaks one thing in a world that is otherwise in order."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest

from invitation.lifecycle.states import TABLE
from tests.chaos.evidence import Evidence
from tests.chaos.ledger import PAYROLL, Guest, Ledger
from tests.chaos.plan import DATABASE, INVITATION_1, LEASE, LINES_TO_DATABASE, SLOTS, Fault, Kind, repeats_allowed
from tests.chaos.rules import MOVES, facts, illegal
from tests.chaos.sink import Mail, MailSink
from tests.chaos.trouble import Incident
from tests.chaos.verdict import Verdict, judge

MEMBER = "0d3f5a52-0000-4000-8000-000000000001"


def a_step(trigger: str, from_: str, to: str, **detail: Any) -> dict[str, Any]:
    return {"trigger": trigger, "from": from_, "to": to, **({"detail": detail} if detail else {})}


class World:
    """One foreign guest, who was invited, sent a mail and opened it. `mails` are arrival times of its copies."""

    def __init__(self) -> None:
        self.guest = Guest(1, "opener", "ondine@example.com", PAYROLL, MEMBER, accepted=True)
        self.guest.addresses.add(self.guest.email)
        self.guest.ends = frozenset({"opened"})
        self.ledger = Ledger([self.guest])
        id = self.guest.invitation_id
        self.invitation: dict[str, Any] = {
            "_id": id,
            "state": "opened",
            "version": 4,
            "link_sequence": 1,
            "send_sequence": 1,
            "member": {"id": MEMBER},
            "history": [
                a_step("created", "pending", "pending"),
                a_step("accepted", "pending", "sent", send=1),
                a_step("opened", "sent", "opened"),
            ],
        }
        self.evidence = Evidence(invitations={id: self.invitation}, exits={"invitation-1": 0})
        for name, version in (("sent", 2), ("opened", 4)):
            self.tell(name, version)
        self.mails = [10.0]
        self.cuts = 0
        self.incidents: list[Incident] = []

    def tell(self, name: str, version: int) -> None:
        id = f"{self.guest.invitation_id}.{version}"
        self.evidence.log[id] = {
            "source": "/convive/invitation",
            "type": f"convive.invitation.{name}.v1",
            "subject": MEMBER,
            "sequence": str(version),
            "data": {"invitation_id": self.guest.invitation_id, "version": version},
        }

    def fault(self, kind: Kind, target: str, begin: float, end: float) -> None:
        fault = Fault(1, kind, (target,), begin, end - begin)
        self.incidents.append(Incident(fault, begin, end, 1.0, repeats_allowed(fault, end - begin)))

    def judged(self) -> Verdict:
        sink = MailSink(1)
        id = self.guest.invitation_id
        sink.mails = [Mail(self.guest.email, id, 1, 1, "token", at) for at in self.mails]
        sink.cut_after_data = [(id, 1)] * self.cuts
        return judge(self.evidence, self.ledger, sink, self.incidents)


def found(verdict: Verdict) -> Mapping[str, int]:
    lists = ("lost", "stuck", "unexpected", "illegal", "beyond")
    return {name: len(getattr(verdict, name)) for name in lists if getattr(verdict, name)}


def test_a_world_in_order_passes():
    assert World().judged().passed


def test_an_invitation_that_was_accepted_and_is_not_there_is_lost():
    world = World()
    world.evidence.invitations.clear()
    world.evidence.log.clear()
    world.mails = []
    assert found(world.judged()) == {"lost": 1}


def test_an_event_that_never_reached_the_log_is_lost():
    world = World()
    world.evidence.log.popitem()
    assert found(world.judged()) == {"lost": 1}


def test_a_mail_that_never_arrived_is_lost():
    world = World()
    world.mails = []
    assert found(world.judged()) == {"lost": 1}


def test_an_event_that_no_history_knows_is_unexpected():
    world = World()
    world.tell("declined", 3)
    assert found(world.judged()) == {"unexpected": 1}


def test_a_mail_to_somebody_else_is_unexpected():
    world = World()
    world.guest.addresses = {"elsewhere@example.com"}
    assert found(world.judged()) == {"unexpected": 1}


def test_a_healthy_message_in_the_parking_place_is_unexpected_and_a_bad_one_that_is_not_there_is_lost():
    world = World()
    world.evidence.parked = [{"sha256": "a", "slug": "invalid", "reason": "", "queue": "invitation.events"}]
    world.ledger.poison = {hashlib.sha256(b"not JSON").hexdigest()}
    assert found(world.judged()) == {"unexpected": 1, "lost": 1}


def test_a_password_that_was_told_to_be_set_and_that_the_directory_does_not_know_is_lost():
    world = World()
    world.guest.told_passwords = ["galet"]
    assert found(world.judged()) == {"lost": 1}


def test_what_waits_and_who_is_still_on_the_way_is_stuck():
    world = World()
    world.evidence.waiting = {"messages in invitation.events": 3}
    world.guest.ends = frozenset()
    assert found(world.judged()) == {"stuck": 2}


def test_a_step_that_is_no_row_of_the_table_is_illegal():
    world = World()
    world.invitation["history"][2] = a_step("opened", "sent", "active")
    world.invitation["state"] = "active"
    assert world.judged().illegal


def test_a_gap_between_two_steps_is_illegal():
    history = [a_step("accepted", "pending", "sent"), a_step("opened", "pending", "opened")]
    assert list(illegal(history, "opened"))


def test_two_events_of_one_version_order_are_illegal():
    world = World()
    world.evidence.log.clear()
    world.tell("opened", 2)
    world.tell("sent", 4)
    assert found(world.judged()) == {"illegal": 1}


def test_a_mail_that_comes_again_without_a_fault_is_beyond_the_promise():
    world = World()
    world.mails = [10.0, 10.0 + LEASE]
    assert found(world.judged()) == {"beyond": 1}


@pytest.mark.parametrize(
    ("kind", "target", "lasts"),
    [
        (Kind.KILL, INVITATION_1, 1.0),
        (Kind.PAUSE, INVITATION_1, LEASE + 1),
        (Kind.PAUSE, DATABASE, LEASE + 1),
        (Kind.SLOW, LINES_TO_DATABASE[0], LEASE + 1),
    ],
)
def test_a_death_a_long_pause_and_an_outage_account_for_as_many_copies_as_there_are_slots(
    kind: Kind, target: str, lasts: float
):
    world = World()
    world.fault(kind, target, 10.5, 10.5 + lasts)
    world.mails = [10.0, 10.5 + lasts + LEASE]
    verdict = world.judged()
    assert (verdict.passed, verdict.repeats) == (True, 1)

    allowed = world.incidents[0].allowed
    assert allowed in (SLOTS, 2 * SLOTS)
    world.mails = [10.0, *[10.5 + lasts + LEASE] * (allowed + 1)]
    assert found(world.judged()) == {"beyond": 1}


def test_a_short_pause_accounts_for_nothing():
    world = World()
    world.fault(Kind.PAUSE, INVITATION_1, 10.5, 12.5)
    world.mails = [10.0, 16.0]
    assert found(world.judged()) == {"beyond": 1}


def test_a_connection_cut_after_data_accounts_for_one_copy():
    world = World()
    world.cuts = 1
    world.mails = [10.0, 12.0]
    assert world.judged().passed
    world.mails = [10.0, 12.0, 14.0]
    assert found(world.judged()) == {"beyond": 1}


def test_an_attempt_that_timed_out_accounts_for_one_copy():
    world = World()
    world.invitation["history"].insert(1, a_step("deferred", "pending", "pending", reason="timeout", attempt=1))
    world.mails = [10.0, 12.0]
    verdict = world.judged()
    assert (verdict.passed, verdict.timed_out) == (True, 1)
    world.mails = [10.0, 12.0, 14.0]
    assert found(world.judged()) == {"beyond": 1}


def test_a_fault_accounts_for_no_copy_of_a_mail_that_was_done_with_long_before():
    world = World()
    world.fault(Kind.KILL, INVITATION_1, 100.0, 101.0)
    world.mails = [10.0, 110.0]
    assert found(world.judged()) == {"beyond": 1}


def test_the_checkers_table_is_the_products_table():
    told: dict[str, dict[str, str]] = defaultdict(dict)
    for row in TABLE:
        told[row.trigger.value] |= {state.value: (row.to or state).value for state in row.from_}
    assert told == MOVES


def test_skipped_steps_make_events_and_late_outcomes_do_not():
    history = [
        a_step("created", "pending", "pending"),
        a_step("redeemed", "pending", "sent", skipped=True),
        a_step("redeemed", "sent", "opened", skipped=True),
        a_step("redeemed", "opened", "password_set"),
        a_step("accepted", "password_set", "password_set", of_send=1),
        a_step("signed_in", "password_set", "active"),
    ]
    assert list(facts(history)) == ["sent", "opened", "password_set", "active"]
    assert not list(illegal(history, "active"))
