"""The events that tell others of an invitation."""

from __future__ import annotations

from convive_contracts import InvitationState, parse_event
from convive_contracts.envelope import STRUCTURED
from invitation.lifecycle.facts import announcements
from invitation.lifecycle.invitation import Change
from invitation.lifecycle.states import State
from tests.unit.lifecycle.making import a_cause, an_invitation, an_invitee


def a_change() -> Change:
    change = an_invitation(State.SENT).redeemed("account-1", "existing", a_cause(), signed_in=True)
    assert change is not None
    return change


def test_every_fact_becomes_an_event_that_the_contract_accepts() -> None:
    change = a_change()

    events = [parse_event(told["body"], content_type=STRUCTURED) for told in announcements(change, "c-1")]

    assert [event.short_type for event in events] == [
        "invitation.opened",
        "invitation.password_set",
        "invitation.active",
    ]
    assert [event.sequence for event in events] == [fact.version for fact in change.facts]
    assert events[-1].sequence == change.after.version
    assert {event.correlation_id for event in events} == {"c-1"}
    assert {event.subject for event in events} == {an_invitee().member_id}
    data = events[-1].data
    assert isinstance(data, InvitationState)
    assert (data.state, data.version, data.invitation_id) == ("active", change.after.version, change.after.id)


def test_announcing_again_is_the_same_events() -> None:
    assert list(announcements(a_change_of := a_change(), None)) == list(announcements(a_change_of, None))


def test_the_routing_key_is_the_short_type() -> None:
    assert [told["key"] for told in announcements(a_change(), None)] == [
        "invitation.opened",
        "invitation.password_set",
        "invitation.active",
    ]


def test_events_hold_no_name_address_or_phone() -> None:
    invitee = an_invitee()

    bodies = b"".join(told["body"] for told in announcements(a_change(), None)).decode()

    for personal in (invitee.first_name, invitee.last_name, invitee.email, invitee.cabinet_name, invitee.dossier_name):
        assert personal not in bodies
