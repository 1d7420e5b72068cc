"""What follows when the directory has used a link up, and the other invitations that may be accepted with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from convive_kit.errors import Retry
from convive_kit.http import Problem
from invitation.directory import Account, Directory, MemberGone, OtherPassword, Redeemed
from invitation.lifecycle.invitation import Cause, Invitation, Invitee
from invitation.lifecycle.states import State
from invitation.pages import context as pages
from invitation.pages.bodies import MOST_OTHERS
from invitation.pages.visits import USED_UP, Visit
from invitation.store.protocol import Filter, Store, decide_and_save_at_once

log = structlog.stdlib.get_logger(__name__)

_OPEN = (State.PENDING, State.SENT, State.OPENED, State.FAILED)
_NOTING = 3.0
"""Seconds for which somebody who has chosen a password waits until it is noted here too."""


class Redemptions:
    def __init__(self, store: Store, directory: Directory, now: Callable[[], datetime]) -> None:
        self._store = store
        self._directory = directory
        self._now = now

    async def note(self, invitation: Invitation, redeemed: Redeemed) -> State:
        """Keep what the directory has decided; answers where the person stands now."""
        existing = redeemed.credential == "existing"
        cause = Cause(self._now(), "person")
        try:
            async with asyncio.timeout(_NOTING):
                change = await decide_and_save_at_once(
                    self._store,
                    invitation,
                    lambda i: i.redeemed(None, redeemed.credential, cause, signed_in=existing),
                )
        except (Retry, TimeoutError) as away:
            # The directory has decided, and its event will tell us again: the person need not wait for our database.
            why = away.slug if isinstance(away, Retry) else "timed_out"
            log.warning("invitation.redemption_not_noted", invitation=invitation.id, cause=why)
        else:
            if change is not None:
                log.info("invitation.redeemed", invitation=invitation.id, account=redeemed.credential)
                return change.after.state
        # Redeemed once more by somebody who has been in for long: they are no step behind.
        return State.ACTIVE if existing or invitation.state is State.ACTIVE else State.PASSWORD_SET

    async def others(self, visit: Visit, account: Account) -> tuple[pages.Other, ...]:
        """The other open invitations of the person, who is signed in. Where nobody has proved that the address is
        theirs there are none to be told of: they may be another's."""
        if not account.verified:
            return ()
        open_ones = await self._open_invitations(visit)
        return tuple(await asyncio.gather(*(self._shown(one, invitee) for one, invitee in open_ones)))

    async def _open_invitations(self, visit: Visit) -> list[tuple[Invitation, Invitee]]:
        which = Filter(states=_OPEN, email_keys=[visit.invitee.email_key])
        found = (await self._store.find(which, limit=MOST_OTHERS + 1)).items
        now = self._now()
        return [
            (one, one.invitee)
            for one in found
            if one.id != visit.invitation.id
            and one.invitee is not None
            # Without an expiry nobody has been sent a link yet: the firm has not invited them.
            and one.expires_at is not None
            and one.link_state(one.link_sequence, now) == "alive"
        ]

    async def _shown(self, other: Invitation, invitee: Invitee) -> pages.Other:
        names = await self._store.names(invitee)
        return pages.Other(other.id, names.cabinet, names.dossier, invitee.role)

    async def accept_others(self, visit: Visit, ids: Sequence[str]) -> list[tuple[pages.Other, pages.Outcome]]:
        """Accept these invitations of the same person too, each by itself: what becomes of one is nothing to another.
        What is not theirs, or not open, is told apart from nothing else that is gone."""
        if not ids or not (await self._directory.account(visit.invitee.email)).verified:
            return [(pages.Other(id, "", "", ""), "gone") for id in ids]
        open_ones = {one.id: (one, invitee) for one, invitee in await self._open_invitations(visit)}
        outcomes: list[tuple[pages.Other, pages.Outcome]] = []
        for id in dict.fromkeys(ids):
            if id not in open_ones:
                outcomes.append(await self._accepted_before(visit, id) or (pages.Other(id, "", "", ""), "gone"))
                continue
            one, invitee = open_ones[id]
            other = await self._shown(one, invitee)
            try:
                redeemed = await self._directory.redeem(one, invitee, None)
            except (MemberGone, OtherPassword):
                outcomes.append((other, "gone"))
            except (Retry, Problem) as trouble:
                log.warning("invitation.not_accepted", invitation=id, cause=trouble.slug)
                outcomes.append((other, "try_again"))
            else:
                await self.note(one, redeemed)
                outcomes.append((other, "accepted"))
        return outcomes

    async def _accepted_before(self, visit: Visit, id: str) -> tuple[pages.Other, pages.Outcome] | None:
        """For whoever asks again because they had no answer."""
        one = await self._store.load(id)
        if one is None or one.invitee is None or one.state not in USED_UP:
            return None
        if one.invitee.email_key != visit.invitee.email_key:
            return None
        return await self._shown(one, one.invitee), "accepted"
