"""What is going on when the process dies: every way from an event, or a click, to its last write."""

from __future__ import annotations

from typing import Any

from tests.crash.acts import (
    accept_both,
    add,
    announce_late,
    ask_for_resend,
    click,
    correct_the_address,
    erase,
    extend,
    firm,
    invite_again,
    leave_a_rest,
    mistype_the_key,
    move,
    open_dossier,
    operate,
    pause_and_resume,
    rebuild,
    rename_the_cabinet,
    renew,
    replay_log,
    replay_parked,
    resend_all,
    send_rubbish,
    sign_in,
    sign_in_with_code,
    unheard,
)
from tests.crash.guests import (
    Scenario,
    asked_about_too_early,
    foreign,
    invited,
    invited_beside_another,
    invited_beside_others,
    known_everywhere,
    known_to_the_log_alone,
    own_member,
    publish,
    refused,
    to_be_added,
    with_a_rest_in_the_outbox,
    with_account,
    with_password,
    with_two_to_accept,
)
from tests.crash.lanes import Victim
from tests.crash.truths import (
    SENT_AGAIN,
    accepted,
    all_resent,
    both_accepted,
    declined,
    erased,
    extended,
    has_a_password,
    is_done_to_all,
    is_erased,
    is_in,
    is_kept_aside,
    is_learnt,
    is_replayed,
    kept_aside,
    learnt,
    moved,
    opened,
    rebuilt,
    removed,
    replayed,
    resent,
    resent_as_often_as_pressed,
    rested_and_resent,
    revoked,
    revoked_at_last,
    sent_again_as_often_as_asked,
    sent_once,
    stands,
)
from tests.speaking import PASSWORD

_NEW = {"password": PASSWORD}
SENT = stands("sent")
ACTIVE = stands("active")
PASSWORD_SET = stands("password_set")
INVITE = publish("user.created")
INVITE_IN_BULK = publish("user.created", key="user.created.bulk")
REMOVE = publish("user.removed")
CHOOSE = click("password", _NEW)
SIGN_IN_AND_ACCEPT = click("accept", _NEW)
ACCEPT = click("accept", {}, signed_in=True)
OPEN = click("open", {"proof": "input"})
DECLINE = click("decline", {"reason": "not_wanted"})
REMOVE_MEMBER = firm("DELETE", "{member}", None, 204, 404)
ARCHIVE = firm("DELETE", "{dossier}", None, 204, 404)
RESEND, REVOKE = operate("resend", {}), operate("revoke", {"reason": "left"})
DUE, SWEEP, RUN, FINISH = ("DueLoop.run",), ("Relay.run",), ("Runner.run",), ("Membership.run",)
WAIT = ("WaitingRoom.run",)


def _all() -> dict[str, Scenario]:
    rows: tuple[tuple[str, str, Any, Any, Any, Any, tuple[str, ...]], ...] = (
        # what happens, who dies, what is there before, what is done, when it is over, what is true then, loops
        ("a person is invited", "i", foreign, INVITE, SENT, sent_once, ()),
        ("a person is invited in bulk", "i", foreign, INVITE_IN_BULK, SENT, sent_once, DUE),
        ("a person is removed", "i", invited, REMOVE, stands("revoked"), removed, ()),
        ("an address changes", "i", invited, move, SENT_AGAIN, moved, ()),
        ("rubbish is parked", "i", foreign, send_rubbish, is_kept_aside, kept_aside, ()),
        ("a mistyped key is parked", "i", foreign, mistype_the_key, is_kept_aside, kept_aside, ()),
        ("a rest in the outbox is swept", "i", with_a_rest_in_the_outbox, leave_a_rest, SENT, sent_once, SWEEP),
        ("a resend is requested", "i", invited, ask_for_resend, SENT_AGAIN, resent, ()),
        ("a request has waited", "i", asked_about_too_early, announce_late, stands("revoked"), revoked_at_last, WAIT),
        ("a cabinet is renamed", "i", foreign, rename_the_cabinet, is_learnt, learnt, ()),
        ("a person acts on the page", "i", invited, OPEN, stands("opened"), opened, ()),
        ("a person chooses a password", "id", own_member, CHOOSE, PASSWORD_SET, has_a_password, ()),
        ("a person signs in and accepts", "id", with_account, SIGN_IN_AND_ACCEPT, ACTIVE, accepted, ()),
        ("a person who is signed in accepts", "id", with_account, ACCEPT, ACTIVE, accepted, ()),
        ("a person accepts two at once", "id", with_two_to_accept, accept_both, ACTIVE, both_accepted, ()),
        ("a password is chosen, unheard", "i", own_member, unheard(CHOOSE), PASSWORD_SET, has_a_password, ()),
        ("an account accepts, unheard", "i", with_account, unheard(SIGN_IN_AND_ACCEPT), ACTIVE, accepted, ()),
        ("a person signs in with the code", "id", with_password, sign_in_with_code, ACTIVE, is_in, ()),
        ("a person signs in with the password", "d", with_password, sign_in, ACTIVE, is_in, ()),
        ("a person asks for the link again", "i", invited, renew, SENT_AGAIN, sent_again_as_often_as_asked, ()),
        ("a person declines", "i", invited, DECLINE, stands("declined"), declined, ()),
        ("operators resend", "i", invited, RESEND, SENT_AGAIN, resent_as_often_as_pressed, ()),
        ("operators revoke", "i", invited, REVOKE, stands("revoked"), revoked, ()),
        ("operators extend", "i", invited, extend, SENT, extended, ()),
        ("a firm adds a member", "d", to_be_added, add, SENT, sent_once, ()),
        ("a firm opens a dossier with a member", "d", to_be_added, open_dossier, SENT, sent_once, FINISH),
        ("a firm removes a member", "d", own_member, REMOVE_MEMBER, stands("revoked"), removed, ()),
        ("a firm corrects an address", "d", own_member, correct_the_address, SENT_AGAIN, moved, ()),
        ("a firm invites again", "d", own_member, invite_again, SENT_AGAIN, resent_as_often_as_pressed, ()),
        ("a firm archives a dossier", "d", own_member, ARCHIVE, stands("revoked"), removed, FINISH),
        ("parked messages are replayed", "i", refused, replay_parked, is_replayed, replayed, RUN),
        ("operators resend to all", "i", invited_beside_another, resend_all, is_done_to_all, all_resent, RUN),
        ("a bulk run is paused", "i", invited_beside_others, pause_and_resume, is_done_to_all, rested_and_resent, RUN),
        ("a person is erased", "id", known_everywhere, erase, is_erased, erased, RUN),
        ("the log is replayed", "i", invited, replay_log, is_replayed, replayed, RUN),
        ("the database is rebuilt", "i", invited, rebuild, is_replayed, rebuilt, RUN),
        ("who was rebuilt is written to", "i", known_to_the_log_alone, rebuild, SENT, sent_once, (*RUN, *DUE)),
    )
    victims: dict[str, Victim] = {"i": "invitation", "d": "directory"}
    return {
        f"{what}, {victims[who]} dies": Scenario(victims[who], prepare, act, check, loops, over)
        for what, whom, prepare, act, over, check, loops in rows
        for who in whom
    }


SCENARIOS = _all()
