from __future__ import annotations

from datetime import timedelta

import pytest

from convive_contracts import DIRECTORY_SOURCE, UserCreated, UserRemoved, new_event
from directory.model.member import Member
from directory.model.refusals import AlreadyIn, EmailIsLogin, FieldRefused, MemberGone
from tests.unit.directory.making import NOW, a_cabinet, a_dossier, a_fact, a_member, member_fields

LATER = NOW + timedelta(hours=1)
CABINET = a_cabinet(phone="01 23 45 67 89")
DOSSIER = a_dossier(CABINET)


def test_adding_a_member_announces_them_in_full() -> None:
    change = Member.added(member_fields(employee_code="E7", own_expense_reports=True), DOSSIER, CABINET)
    (announcement,) = change.announcements
    event = new_event(announcement.type, source=DIRECTORY_SOURCE, subject=announcement.subject, data=announcement.data)
    assert isinstance(event.data, UserCreated)
    assert event.subject == event.data.member.id == change.after.id
    assert event.data.member.employee_code == "E7"
    assert event.data.cabinet.phone == "01 23 45 67 89"
    assert event.data.invite_by == "email"
    assert change.after.version == 1


def test_a_new_member_shows_a_pending_invitation_unless_invited_later() -> None:
    now, later = a_member(), a_member(invite_by="none")
    assert now.invitation is not None
    assert (now.invitation.state, now.invitation.id) == ("pending", now.invitation_id)
    assert later.invitation is None


def test_another_address_before_redemption_announces_it_and_is_pending_again() -> None:
    member = a_member()
    sent = member.learn(a_fact(member, "sent", 3), NOW, NOW)
    assert sent
    change = sent.after.edited({"email": "j@example.com", "email_key": "j@example.com"}, DOSSIER, CABINET, LATER)
    assert change
    assert [a.type for a in change.announcements] == ["user.updated"]
    assert change.announcements[0].data["member"]["email"] == "j@example.com"
    assert change.after.invitation
    assert (change.after.invitation.state, change.after.invitation.updated_at) == ("pending", LATER)


def test_an_edit_that_changes_nothing_is_none() -> None:
    assert a_member().edited({"first_name": "Jeanne"}, DOSSIER, CABINET, NOW) is None


def test_the_email_is_fixed_once_it_is_a_login() -> None:
    member = a_member()
    redeemed = member.attach("an account", signed_in=False)
    assert redeemed
    with pytest.raises(EmailIsLogin):
        redeemed.after.edited({"email": "j@example.com", "email_key": "j@example.com"}, DOSSIER, CABINET, NOW)
    recased = redeemed.after.edited({"email": "Jeanne@example.com"}, DOSSIER, CABINET, NOW)
    assert recased, "the same login in other letters is no other login"


def test_the_email_is_fixed_when_the_invitation_service_says_so_first() -> None:
    member = a_member()
    told = member.learn(a_fact(member, "password_set", 5), NOW, NOW)
    assert told
    with pytest.raises(EmailIsLogin):
        told.after.edited({"email": "j@example.com", "email_key": "j@example.com"}, DOSSIER, CABINET, NOW)


def test_a_phone_that_sms_needs_cannot_be_taken_away() -> None:
    member = a_member(phone="+33612345678", invite_by="sms")
    with pytest.raises(FieldRefused) as refusal:
        member.edited({"phone": None}, DOSSIER, CABINET, NOW)
    assert refusal.value.about == {"field": "phone"}


def test_inviting_asks_the_invitation_service_for_a_new_link() -> None:
    change = a_member(invite_by="none").invite("email", LATER, "cabinet:1")
    (request,) = change.announcements
    assert request.type == "invitation.resend_requested"
    assert request.subject == change.after.id
    assert request.data == {
        "invitation_id": change.after.invitation_id,
        "channel": "email",
        "requested_by": "cabinet:1",
    }
    assert change.after.invite_by == "email"
    assert change.after.invitation


@pytest.mark.parametrize("state", ["password_set", "active", "revoked"])
def test_nobody_is_invited_again_in_a_state_that_refuses_it(state: str) -> None:
    member = a_member()
    told = member.learn(a_fact(member, state, 9), NOW, NOW)
    assert told
    with pytest.raises(AlreadyIn) as refusal:
        told.after.invite("email", NOW, None)
    assert refusal.value.about == {"state": state}


def test_inviting_by_sms_needs_a_phone() -> None:
    with pytest.raises(FieldRefused):
        a_member().invite("sms", NOW, None)


def test_removal_is_announced_once_and_frees_the_email() -> None:
    change = a_member().remove(NOW)
    assert change
    event = new_event("user.removed", source=DIRECTORY_SOURCE, subject="x", data=change.announcements[0].data)
    assert isinstance(event.data, UserRemoved)
    assert change.after.email_key is None
    assert change.after.remove(NOW) is None
    with pytest.raises(MemberGone):
        change.after.invite("email", NOW, None)
    with pytest.raises(MemberGone):
        change.after.edited({"first_name": "J"}, DOSSIER, CABINET, NOW)


def test_an_older_fact_never_overrides_a_newer_one() -> None:
    member = a_member()
    opened = member.learn(a_fact(member, "opened", 4), NOW, NOW)
    assert opened
    assert opened.after.learn(a_fact(member, "sent", 3), LATER, LATER) is None
    assert opened.after.learn(a_fact(member, "opened", 4), LATER, LATER) is None


def test_active_means_that_they_have_signed_in() -> None:
    member = a_member()
    change = member.learn(a_fact(member, "active", 6), NOW, NOW)
    assert change
    assert change.after.has_signed_in


def test_a_fact_about_another_invitation_is_ignored() -> None:
    member = a_member()
    assert member.learn(a_fact(member, "sent", 3, invitation_id=a_member().invitation_id), NOW, NOW) is None


def test_attaching_twice_changes_nothing_and_never_forgets_a_sign_in() -> None:
    first = a_member().attach("a", signed_in=True)
    assert first
    assert first.after.attach("a", signed_in=False) is None


@pytest.mark.parametrize("state", ["failed", "declined", "expired"])
def test_the_firm_is_told_of_trouble_from_when_we_heard_of_it_and_until_it_is_over(state: str) -> None:
    member = a_member()
    heard = member.learn(a_fact(member, state, 3), NOW, LATER)
    assert heard is not None
    assert heard.after.trouble_at == LATER
    again = heard.after.learn(a_fact(member, state, 4), LATER, LATER + timedelta(days=1))
    assert again is not None
    assert again.after.trouble_at == LATER, "the same once more is no news"
    over = again.after.learn(a_fact(member, "sent", 5), LATER, LATER)
    assert over is not None
    assert over.after.trouble_at is None
    invited = again.after.invite("email", LATER, None)
    assert invited.after.trouble_at is None
