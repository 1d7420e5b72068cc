"""What people do with their links: read the mail, click, choose a password, sign in; or something else."""

from __future__ import annotations

import asyncio
import random
from urllib.parse import parse_qs, urlsplit

from tests.chaos.callers import Answer, Web
from tests.chaos.ledger import Guest, Ledger
from tests.chaos.sink import Mail, MailSink

_WEAK = ("motdepasse12", "123456789012", "jean")
_WORDS = (
    *("cheval", "agrafe", "violon", "tambour", "galet", "fougère", "lanterne", "mouette", "cerise", "boussole"),
    *("nuage", "tonneau", "sifflet", "marmite", "ardoise", "papillon", "corail", "grenier", "poivre", "velours"),
)


class _Superseded(Exception):
    """Another link has taken the place of this one, or will."""


class Person:
    """Somebody in front of a browser, with the mails to their address."""

    def __init__(self, guest: Guest, web: Web, sink: MailSink, ledger: Ledger, chance: random.Random) -> None:
        self.guest = guest
        self.chance = chance
        self._web = web
        self._sink = sink
        self._ledger = ledger

    def new_password(self) -> str:
        return f"{' '.join(self.chance.sample(_WORDS, 5))} {self.chance.randrange(1000)}"

    async def think(self, longest: float = 3.0) -> None:
        await asyncio.sleep(self.chance.uniform(0.1, longest))

    async def mail(self, *, newer_than: Mail | None = None) -> Mail:
        """The mail with the newest link; with `newer_than`, once there is one with a newer link."""
        known = newer_than.link_sequence if newer_than else 0
        id = self.guest.invitation_id
        return await self._sink.mail(
            self.guest.email, lambda mail: mail.invitation_id == id and mail.link_sequence > known
        )

    async def mail_again(self, mail: Mail) -> Mail:
        """The mail of a later send than that one."""
        id = self.guest.invitation_id
        return await self._sink.mail(
            self.guest.email, lambda new: new.invitation_id == id and new.send_sequence > mail.send_sequence
        )

    # --- steps -----------------------------------------------------------------------------------------------------

    async def look(self, mail: Mail) -> Answer:
        return await self._web.call("invitation", "GET", f"/i/{mail.token}")

    async def open(self, mail: Mail) -> bool:
        """Act on the page; False when the link is superseded, so that another mail is on its way."""
        answer = await self._post(mail, "open", {"proof": "input"})
        if answer.status == 200:
            return True
        if answer.status != 410 or answer.body["reason"] not in ("superseded", "revoked"):
            self._wonder("open", answer)
        return False

    async def come_in(self, mail: Mail, *, weak_first: bool = False, twice: bool = False) -> None:
        """Open, choose a password, be signed in. Where the link is superseded, go on with the next mail's."""
        password = self.new_password()
        while True:
            while not await self.open(mail):
                mail = await self.mail(newer_than=mail)
            await self.think()
            try:
                if weak_first:
                    await self._choose_a_weak_one(mail)
                codes = [await self._choose(mail, password) for _ in range(2 if twice else 1)]
            except _Superseded:
                # Asked for before, and carried out only now: a removal, or a new link by a call that was cut off.
                mail = await self.mail(newer_than=mail)
                continue
            code = next((code for code in reversed(codes) if code is not None), None)
            if code is not None:
                await self._be_signed_in(code, password)
            return

    async def race(self, mail: Mail) -> None:
        """Two browsers, one link, two passwords: exactly one may be told that it was set."""
        passwords = (self.new_password(), self.new_password())
        codes = await asyncio.gather(*(self._choose(mail, password, racing=True) for password in passwords))
        told = [(code, password) for code, password in zip(codes, passwords, strict=True) if code is not None]
        if len(told) != 1:
            self._wonder(f"{len(told)} of two racing passwords were taken", None)
        for code, password in told[:1]:
            await self._be_signed_in(code, password)

    async def accept(self, mail: Mail, password: str) -> None:
        """Accept with the password of the account that exists."""
        self.guest.tried_password = self.guest.tried_sign_in = True
        answer = await self._post(mail, "accept", {"password": password})
        if answer.status != 200:
            self._wonder("accept", answer)
            return
        self.guest.told_passwords.append(password)
        # Accepting proves the person signed in.
        self.guest.told_signed_in = True
        await self._be_signed_in(_code(answer), password)

    async def decline(self, mail: Mail) -> bool:
        """“This isn't me.”"""
        answer = await self._post(mail, "decline", {"reason": "wrong_person"})
        done = answer.status == 200 or (answer.unclear and answer.status == 410 and answer.body["reason"] == "declined")
        if not done:
            self._wonder("decline", answer)
        return done

    async def renew(self, mail: Mail) -> bool:
        """Ask for the link again; True when that was noted."""
        answer = await self._post(mail, "renew", {})
        self.guest.renewals += answer.tries
        if answer.status != 200:
            self._wonder("renew", answer)
        return answer.status == 200

    # --- inside ----------------------------------------------------------------------------------------------------

    async def _choose_a_weak_one(self, mail: Mail) -> None:
        answer = await self._post(mail, "password", {"password": self.chance.choice(_WEAK)})
        _refuse_superseded(answer)
        if answer.status != 422:
            self._wonder("weak password", answer)

    async def _choose(self, mail: Mail, password: str, *, racing: bool = False) -> str | None:
        """Choose a password; the one-time code when it was taken."""
        self.guest.tried_password = True
        answer = await self._post(mail, "password", {"password": password})
        if answer.status == 200:
            if password not in self.guest.told_passwords:
                self.guest.told_passwords.append(password)
            return _code(answer)
        _refuse_superseded(answer)
        self.guest.refused_passwords.append(password)
        if not (racing and answer.status == 409):
            self._wonder("password", answer)
        return None

    async def _be_signed_in(self, code: str, password: str) -> None:
        """Follow the handoff; a code that was used up in an outage is replaced by the password."""
        guest = self.guest
        guest.tried_sign_in = True
        answer = await self._web.call("directory", "POST", "/v1/sessions", json={"code": code})
        if answer.status != 201:
            # A code lives for a minute and works once: an outage may have come between.
            credentials = {"email": guest.email, "password": password}
            answer = await self._web.call("directory", "POST", "/v1/sessions", json=credentials)
        if answer.status != 201:
            self._wonder("sign-in", answer)
            return
        guest.told_signed_in = True
        me = await self._web.call("directory", "GET", "/v1/me", token=answer.body["token"])
        if me.status != 200:
            self._wonder("a new session", me)
            return
        places = {place["member_id"] for place in (*me.body["dossiers"], *me.body["grants"])}
        if guest.member_id not in places:
            self._wonder("signed in, and the dossier is not there", me)

    async def _post(self, mail: Mail, step: str, body: dict[str, str]) -> Answer:
        return await self._web.call("invitation", "POST", f"/i/{mail.token}/{step}", json=body)

    def _wonder(self, what: str, answer: Answer | None) -> None:
        told = f": {answer.status} {answer.body}, {answer.tries} tries" if answer else ""
        who = f"guest {self.guest.number} ({self.guest.story}, {self.guest.invitation_id})"
        self._ledger.surprises.append(f"{who}: {what}{told}"[:600])


def _refuse_superseded(answer: Answer) -> None:
    if answer.status == 410 and answer.body["reason"] in ("superseded", "revoked"):
        raise _Superseded


def _code(answer: Answer) -> str:
    return parse_qs(urlsplit(answer.body["next"]).query)["code"][0]
