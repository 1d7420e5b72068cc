"""An operator at the console, with a browser that keeps the cookie and sends forms as browsers do."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.running import Stack
from tests.speaking import Answer

_FORM_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


@dataclass
class Operator:
    stack: Stack
    cookies: dict[str, str] = field(default_factory=dict[str, str])
    form_token: str = ""

    async def sign_in(self, token: str, *, origin: str | None = None, back: str = "") -> Answer:
        answer = await self.post("/ops/sign-in", origin=origin, token=token, next=back)
        self.cookies |= answer.cookies
        self.stack.private |= set(answer.cookies.values())
        return answer

    async def get(self, path: str, **headers: str) -> Answer:
        answer = await self.stack.invitation.page(
            path, cookies=self.cookies, headers={"Accept-Language": "en", **headers}
        )
        if found := _FORM_TOKEN.search(answer.text):
            self.form_token = found[1]
        return answer

    async def post(
        self, path: str, *, origin: str | None = None, headers: Mapping[str, str] | None = None, **form: str
    ) -> Answer:
        """As from a page that was seen before; `origin` "" for none at all."""
        sent = {
            "Accept-Language": "en",
            "Origin": self.stack.invitation.url if origin is None else origin,
            **(headers or {}),
        }
        sent = {name: value for name, value in sent.items() if value}
        given = {"form_token": self.form_token, **form}
        return await self.stack.invitation.post_form(path, given, cookies=self.cookies, headers=sent)

    async def follow(self, answer: Answer) -> Answer:
        """The page that a form led to."""
        assert answer.status == 303, f"{answer.status}: {words(answer)[:1000]}"
        return await self.get(answer.headers["Location"])


async def operator(stack: Stack, role: str = "writer", name: str = "") -> Operator:
    """Signed in, with a token of that role, and having seen the first page."""
    one = Operator(stack)
    token = (await stack.new_ops_token(role, name))["token"]
    page = await one.follow(await one.sign_in(token))
    assert page.status == 200, words(page)
    return one


def words(answer: Answer) -> str:
    """What a page says, without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())


def is_on_the_way_to_signing_in(answer: Answer) -> bool:
    return answer.status == 303 and urlsplit(answer.headers["Location"]).path == "/ops/sign-in"
