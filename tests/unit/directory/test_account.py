from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from convive_contracts import DIRECTORY_SOURCE, AccountRedeemed, AccountSignedIn, new_event
from directory.model.account import HANDOFF_LIFE, Account, Claim, Proof, Session, proof_needed
from directory.model.change import Change
from directory.model.refusals import CodeSpent, EmailUnverified, PasswordLinkOver, PasswordLinkUsed
from tests.unit.directory.making import NOW, a_claim, a_member, an_account

LATER = NOW + HANDOFF_LIFE


def announced(change: Change[Account], type: str) -> dict[str, object]:
    (announcement,) = change.announcements
    assert announcement.type == type
    event = new_event(type, source=DIRECTORY_SOURCE, subject=announcement.subject, data=announcement.data)
    assert isinstance(event.data, (AccountRedeemed, AccountSignedIn))
    assert event.subject == event.data.account_id
    return event.data.model_dump(exclude={"account_id"})


def test_the_first_link_asks_for_a_new_password() -> None:
    assert proof_needed(None, a_claim()) is Proof.NEW_PASSWORD


def used_up(claim: Claim, credential: str) -> dict[str, object]:
    """What others are told when a link is used up."""
    return {"invitation_id": claim.invitation_id, "credential": credential, "link_sequence": claim.link_sequence}


def test_the_first_redemption_makes_the_account() -> None:
    claim = a_claim()
    nobody = Account(id=claim.email_key, account_id=str(uuid4()), email=claim.email)
    change = nobody.redeem(claim, new_hash="hash", handoff="code", now=NOW)
    assert change.before is None
    assert change.after.verified
    assert change.after.password_hash == "hash"
    assert change.after.credential_version == 1
    assert not change.after.redemptions[claim.invitation_id].active
    assert announced(change, "account.redeemed") == used_up(claim, "new")


def test_a_link_by_sms_does_not_verify_the_email() -> None:
    assert not an_account(a_claim(channel="sms")).verified
    assert an_account(a_claim(channel="email")).verified


def test_the_same_link_again_changes_nothing_but_the_code() -> None:
    claim = a_claim()
    account = an_account(claim)
    assert proof_needed(account, claim) is Proof.OLD_PASSWORD
    change = account.redeem(claim, new_hash=None, handoff="another", now=NOW)
    assert change.announcements == ()
    assert change.after.password_hash == account.password_hash
    assert change.after.redemptions == account.redemptions
    assert [handoff.hash for handoff in change.after.handoffs] == ["code", "another"]


def test_a_verified_account_keeps_its_password_and_is_active_at_once() -> None:
    account, claim = an_account(), a_claim()
    assert proof_needed(account, claim) is Proof.OLD_PASSWORD
    change = account.redeem(claim, new_hash=None, handoff="c", now=NOW)
    assert change.after.redemptions[claim.invitation_id].credential == "existing"
    assert change.after.redemptions[claim.invitation_id].active
    assert announced(change, "account.redeemed") == used_up(claim, "existing")


def test_the_owner_of_the_email_takes_over_an_account_made_by_sms() -> None:
    """Account pre-hijacking, first half: a stranger made the account with a phone of their own."""
    stranger = an_account(a_claim(channel="sms"))
    session = Session(
        id="s",
        account=stranger.id,
        account_id=stranger.account_id,
        credential_version=stranger.credential_version,
        created_at=NOW,
        expires_at=LATER,
    )
    assert stranger.in_force(session, NOW)
    claim = a_claim(channel="email")
    assert proof_needed(stranger, claim) is Proof.NEW_PASSWORD
    owner = stranger.redeem(claim, new_hash="the owner's", handoff="new", now=NOW).after
    assert (owner.verified, owner.password_hash) == (True, "the owner's")
    assert not owner.in_force(session, NOW), "the stranger's session ends"
    assert [handoff.hash for handoff in owner.handoffs] == ["new"], "and so do their codes"
    with pytest.raises(CodeSpent):
        owner.sign_in_with("code", NOW)


def test_a_link_by_sms_never_sets_the_password_of_an_account() -> None:
    """Account pre-hijacking, second half: a stranger's firm invites a known e-mail to a phone of its own."""
    assert proof_needed(an_account(), a_claim(channel="sms")) is Proof.OLD_PASSWORD


def test_an_unverified_account_stays_with_the_cabinet_that_made_it() -> None:
    first = a_claim(channel="sms")
    account = an_account(first)
    with pytest.raises(EmailUnverified):
        proof_needed(account, a_claim(channel="sms"))
    same_firm = a_claim(channel="sms", cabinet_id=first.cabinet_id)
    assert proof_needed(account, same_firm) is Proof.OLD_PASSWORD


def test_a_code_signs_in_once() -> None:
    claim = a_claim()
    change = an_account(claim).sign_in_with("code", NOW)
    assert announced(change, "account.signed_in") == {
        "invitation_ids": [claim.invitation_id],
        "link_sequences": {claim.invitation_id: claim.link_sequence},
    }
    assert change.after.redemptions[claim.invitation_id].active
    with pytest.raises(CodeSpent):
        change.after.sign_in_with("code", NOW)


def test_a_code_lives_for_a_minute() -> None:
    account = an_account()
    with pytest.raises(CodeSpent):
        account.sign_in_with("code", LATER)
    assert account.sign_in_with("code", LATER - timedelta(milliseconds=1))


def test_later_sign_ins_name_no_invitation() -> None:
    again = an_account().sign_in().after.sign_in(better_hash="better")
    assert announced(again, "account.signed_in") == {"invitation_ids": [], "link_sequences": {}}
    assert again.after.password_hash == "better"


def test_few_codes_are_kept() -> None:
    claim = a_claim()
    account = an_account(claim)
    for number in range(20):
        account = account.redeem(claim, new_hash=None, handoff=f"code {number}", now=NOW).after
    assert len(account.handoffs) == 5
    assert account.sign_in_with("code 19", NOW)


def test_a_session_ends_by_time() -> None:
    account = an_account()
    session = Session(
        id="s", account=account.id, account_id=account.account_id, credential_version=1, created_at=NOW, expires_at=NOW
    )
    assert not account.in_force(session, NOW)


def test_holding_a_place_needs_redemption_and_membership() -> None:
    member = a_member()
    account = an_account(a_claim(member))
    assert account.holds(member)
    assert not account.holds(a_member()), "never redeemed"
    removed = member.remove(NOW)
    assert removed
    assert not account.holds(removed.after)
    taken = member.attach("somebody else", signed_in=True)
    assert taken
    assert not account.holds(taken.after)
    assert not account.holds(member.model_copy(update={"email_key": "other@example.com"}))


def test_a_grant_of_another_source_is_no_membership_here() -> None:
    member = a_member()
    foreign = an_account(a_claim(member, source="/somebody/else"))
    assert not foreign.holds(member)


HOUR = timedelta(hours=1)


def with_link(account: Account | None = None) -> Account:
    """Somebody to whom a link to a new password was mailed."""
    change = (account or an_account()).offer_password_link(NOW, HOUR)
    assert change
    return change.after


def test_a_link_to_a_new_password_ends_sessions_and_codes_and_proves_the_address() -> None:
    account = with_link(an_account(a_claim(channel="sms")))
    changed = account.choose_password(1, "new", NOW).after
    assert (changed.password_hash, changed.verified, changed.handoffs) == ("new", True, ())
    assert changed.credential_version == account.credential_version + 1


def test_a_fresh_link_is_offered_again_and_an_old_one_replaced() -> None:
    account = with_link()
    assert account.offer_password_link(NOW + HOUR / 2, HOUR) is None
    later = NOW + HOUR * 0.9
    change = account.offer_password_link(later, HOUR)
    assert change
    with pytest.raises(PasswordLinkOver):
        change.after.choose_password(1, "new", later)
    assert change.after.choose_password(2, "new", later)


def test_a_link_works_once_and_for_its_time() -> None:
    account = with_link()
    with pytest.raises(PasswordLinkOver):
        account.choose_password(1, "new", NOW + HOUR)
    used = account.choose_password(1, "new", NOW).after
    with pytest.raises(PasswordLinkUsed):
        used.choose_password(1, "another", NOW)
    again = used.offer_password_link(NOW, HOUR)
    assert again
    with pytest.raises(PasswordLinkOver):
        again.after.choose_password(1, "another", NOW)


def test_a_link_dies_with_the_password_it_was_to_replace() -> None:
    claim = a_claim(channel="sms")
    account = with_link(an_account(claim))
    by_mail = a_claim(email=claim.email, email_key=claim.email_key, cabinet_id=claim.cabinet_id)
    changed = account.redeem(by_mail, new_hash="the owner's", handoff="code", now=NOW).after
    with pytest.raises(PasswordLinkUsed):
        changed.choose_password(1, "new", NOW)


def test_signing_out_everywhere_ends_sessions_and_codes() -> None:
    account = an_account()
    session = Session(
        id="s",
        account=account.id,
        account_id=account.account_id,
        credential_version=account.credential_version,
        created_at=NOW,
        expires_at=NOW + HOUR,
    )
    out = account.sign_out_everywhere().after
    assert account.in_force(session, NOW)
    assert not out.in_force(session, NOW)
    assert out.handoffs == ()
    assert out.password_hash == account.password_hash
