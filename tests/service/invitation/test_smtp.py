"""The SMTP dialogue against servers that follow a script, good and bad ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from convive_contracts.events import BOUNCE_REASONS
from convive_kit.smtp import SmtpServer
from invitation.delivery.channels import NotTaken, ProviderAway, RefusedForGood, RefusedForNow
from invitation.delivery.email import SmtpPool

MESSAGE = b"Subject: x\r\n\r\n.hidden\r\nline\r\n"


@dataclass
class Server:
    """Answers each command with the script's reply, `250 fine` where it has none; `CLOSE` hangs up instead."""

    extensions: Sequence[str] = ("PIPELINING", "8BITMIME")
    script: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    seen: list[str] = field(default_factory=list[str])
    messages: list[bytes] = field(default_factory=list[bytes])
    connections: int = 0
    port: int = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(b"220 here\r\n")
        try:
            greeted = False
            while line := (await reader.readline()).decode().rstrip("\r\n"):
                verb = line.split(" ")[0].upper()
                self.seen.append(line)
                greeted = greeted or verb in ("EHLO", "HELO", "QUIT")
                reply = self._reply(verb) if greeted else "503 say hello first"
                if reply == "CLOSE":
                    return
                writer.write(f"{reply}\r\n".encode())
                if reply.startswith("354"):
                    self.messages.append(await reader.readuntil(b"\r\n.\r\n") if verb == "DATA" else b"")
                    end = self._reply(".")
                    if end == "CLOSE":
                        return
                    writer.write(f"{end}\r\n".encode())
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _reply(self, verb: str) -> str:
        if scripted := self.script.get(verb):
            return scripted.pop(0)
        if verb == "EHLO":
            names = ["here", *self.extensions]
            return "\r\n".join(f"250{'-' if name is not names[-1] else ' '}{name}" for name in names)
        return {"DATA": "354 go on", "QUIT": "221 bye"}.get(verb, "250 fine")


@pytest.fixture
async def serve() -> AsyncGenerator[Callable[[Server], asyncio.Future[SmtpPool]]]:
    started: list[asyncio.Server] = []
    pools: list[SmtpPool] = []

    async def start(server: Server) -> SmtpPool:
        listening = await asyncio.start_server(server.talk, "127.0.0.1", 0)
        started.append(listening)
        server.port = listening.sockets[0].getsockname()[1]
        pools.append(SmtpPool(SmtpServer("127.0.0.1", server.port)))
        return pools[-1]

    yield lambda server: asyncio.ensure_future(start(server))
    for pool in pools:
        await pool.close()
    for listening in started:
        listening.close()


async def send(pool: SmtpPool, recipient: str = "j@example.com") -> str:
    async with asyncio.timeout(10):
        return await pool.send("noreply@convive.example", recipient, MESSAGE)


@pytest.mark.parametrize("extensions", [("PIPELINING", "8BITMIME"), ("8BITMIME",), ()])
async def test_mails_go_one_after_another_over_one_connection(serve, extensions: Sequence[str]) -> None:
    server = Server(extensions)
    pool = await serve(server)

    replies = [await send(pool), await send(pool)]

    assert replies == ["fine", "fine"]
    assert server.connections == 1
    # Dots at the beginning of lines are doubled on the way (RFC 5321 4.5.2).
    assert server.messages == [b"Subject: x\r\n\r\n..hidden\r\nline\r\n.\r\n"] * 2
    assert ("BODY=8BITMIME" in server.seen[1]) == ("8BITMIME" in extensions)


async def test_a_server_of_the_old_days_is_greeted_in_the_old_way(serve) -> None:
    server = Server(script={"EHLO": ["502 what"]})
    pool = await serve(server)

    assert await send(pool) == "fine"
    assert [line.split(" ")[0] for line in server.seen[:3]] == ["EHLO", "HELO", "MAIL"]


@pytest.mark.parametrize("extensions", [("PIPELINING",), ()])
@pytest.mark.parametrize(
    ("script", "error", "said"),
    [
        ({"RCPT": ["550 5.1.1 no j@example.com"], "DATA": ["554 none"]}, RefusedForGood, "550 5.1.1 no …"),
        ({"RCPT": ["450 later"], "DATA": ["554 none"]}, RefusedForNow, "450 later"),
        (
            {"MAIL": ["530 no"], "RCPT": ["503 x"], "DATA": ["503 x"]},
            ProviderAway,
            "the mail server refuses us: 530 no",
        ),
        ({"DATA": ["451 busy"]}, RefusedForNow, "451 busy"),
        ({".": ["552 too big"]}, RefusedForGood, "552 too big"),
        ({"RCPT": ["550-two\r\n550 lines"], "DATA": ["554 none"]}, RefusedForGood, "550 two lines"),
    ],
)
async def test_a_refusal_says_whose_fault_it_is_and_the_next_mail_goes_through(
    serve, extensions: Sequence[str], script: dict[str, list[str]], error: type[NotTaken], said: str
) -> None:
    if not extensions:
        # Asked one by one, it is not asked further once it has refused.
        script = {
            name: replies for name, replies in script.items() if name in ("MAIL", "RCPT", ".") or len(script) == 1
        }
        if "MAIL" in script:
            script = {"MAIL": script["MAIL"]}
    server = Server(extensions, {name: list(replies) for name, replies in script.items()})
    pool = await serve(server)

    with pytest.raises(error) as refused:
        await send(pool)
    assert (refused.value.said or str(refused.value)) == said
    if error is RefusedForGood:
        assert str(refused.value) in BOUNCE_REASONS

    assert await send(pool) == "fine"
    assert server.connections == 1


async def test_a_server_that_waits_for_a_message_to_nobody_is_given_an_empty_one(serve) -> None:
    server = Server(script={"RCPT": ["550 no"], "DATA": ["250 odd, and it takes no message"]})
    pool = await serve(server)

    with pytest.raises(RefusedForGood):
        await send(pool)

    assert server.messages == []
    assert "." in server.seen


async def test_a_connection_closed_while_idle_is_replaced_without_an_attempt_being_lost(serve) -> None:
    server = Server(script={"MAIL": ["250 fine", "CLOSE"]})
    pool = await serve(server)
    await send(pool)

    assert await send(pool) == "fine"
    assert server.connections == 2


@pytest.mark.parametrize("script", [{".": ["CLOSE"]}, {"MAIL": ["CLOSE"]}])
async def test_a_connection_cut_while_handing_in_is_worth_another_try_later(
    serve, script: dict[str, list[str]]
) -> None:
    pool = await serve(Server(script=script))

    with pytest.raises(RefusedForNow, match="connection was lost"):
        await send(pool)


async def test_a_server_that_closes_the_channel_is_away(serve) -> None:
    server = Server((), {"MAIL": ["421 going down"]})
    pool = await serve(server)

    with pytest.raises(ProviderAway, match="421"):
        await send(pool)


async def test_what_is_no_smtp_ends_the_connection(serve) -> None:
    pool = await serve(Server(script={"MAIL": ["HTTP/1.1 400 Bad Request"]}))

    with pytest.raises(RefusedForNow):
        await send(pool)


async def test_an_address_with_accents_needs_a_server_that_takes_it(serve) -> None:
    plain, able = Server(), Server(("SMTPUTF8", "PIPELINING"))
    first, second = await serve(plain), await serve(able)

    with pytest.raises(RefusedForGood, match="SMTPUTF8"):
        await send(first, "andré@example.com")
    assert await send(second, "andré@example.com") == "fine"
    assert any(line.endswith("SMTPUTF8") for line in able.seen if line.startswith("MAIL"))


async def test_nobody_there_is_a_provider_that_is_away() -> None:
    with pytest.raises(ProviderAway, match="no connection"):
        await send(SmtpPool(SmtpServer("127.0.0.1", 1)))
