"""What comes back to a return address, read for what it says of the mail that went out.

The notifications are shaped as the servers named write them; names and addresses are made up.
"""

from __future__ import annotations

import pytest

from convive_contracts.events import BOUNCE_REASONS
from invitation.delivery.receipts.notices import Notice, read
from invitation.delivery.receipts.reasons import shown, why

POSTFIX = """\
Return-Path: <>
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4ZbX.1700/mx.example.net"

This is a MIME-encapsulated message.

--4ZbX.1700/mx.example.net
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

<jeanne@example.com>: host mail.example.com[192.0.2.1] said: 550 5.1.1
    <jeanne@example.com>: Recipient address rejected: User unknown (in reply to
    RCPT TO command)

--4ZbX.1700/mx.example.net
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
X-Postfix-Queue-ID: 4ZbX
Arrival-Date: Mon,  2 Mar 2026 10:30:00 +0100 (CET)

Final-Recipient: rfc822; jeanne@example.com
Original-Recipient: rfc822;jeanne@example.com
Action: {action}
Status: {status}
Remote-MTA: dns; mail.example.com
Diagnostic-Code: smtp; {said}

--4ZbX.1700/mx.example.net
Content-Type: message/rfc822

From: Cabinet =?utf-8?b?TMOpZ2Vy?= via Convive <noreply@convive.example>
Subject: Invitation

5.7.1 is what the mail that came back says of itself.

--4ZbX.1700/mx.example.net--
"""
EXCHANGE = """\
From: <postmaster@example.com>
Subject: Undeliverable: Invitation
Content-Type: multipart/report; report-type=delivery-status; boundary="b1"
Content-Language: de-DE

--b1
Content-Type: multipart/alternative; boundary="b2"

--b2
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: 8bit

Ihre Nachricht konnte nicht zugestellt werden: „Müller“ wurde nicht gefunden.

--b2
Content-Type: text/html; charset="utf-8"

<p>Ihre Nachricht …</p>

--b2--

--b1
Content-Type: message/delivery-status

Reporting-MTA: dns;VI1PR0.example.com
Received-From-MTA: dns;mx.example.net

Final-Recipient: rfc822;müller@example.com
Action: failed
Status: 5.1.10
Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not
 found by SMTP address lookup
X-Display-Name: Müller

--b1--
"""
GMAIL = """\
From: Mail Delivery Subsystem <mailer-daemon@googlemail.example>
Auto-Submitted: auto-replied
Subject: Delivery Status Notification (Failure)
Content-Type: multipart/report; boundary="000000"; report-type=delivery-status

--000000
Content-Type: text/plain; charset="UTF-8"

** La boîte de réception est pleine **

--000000
Content-Type: message/delivery-status

Reporting-MTA: dns; googlemail.example

Final-Recipient: rfc822; jeanne@example.com
Action: failed
Status: 4.2.2
Diagnostic-Code: smtp; 452-4.2.2 The recipient's inbox is out of storage space.
Last-Attempt-Date: Mon, 02 Mar 2026 01:30:00 -0800 (PST)

--000000--
"""
UTF8 = """\
From: MAILER-DAEMON
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: message/global-delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: utf-8; andré@example.com
Action: failed
Status: 5.2.1
Diagnostic-Code: smtp; 550 5.2.1 boîte désactivée

--b--
"""
QMAIL = """\
From: MAILER-DAEMON@mx.example.net
Subject: failure notice

Hi. This is the qmail-send program at mx.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.
{said}

--- Below this line is a copy of the message.

Subject: 550 5.7.1 is what it says

"""
AWAY = """\
From: Jeanne <jeanne@example.com>
Auto-Submitted: auto-replied
Subject: Absente jusqu'au 5.1.2026

Je reviens le 5.1.2026, appelez le 550 en cas d'urgence.
"""


def notice(mail: str, *, no_sender: bool = True) -> Notice | None:
    return read(mail.encode(), no_sender=no_sender)


def a_report(
    status: str = "5.1.1", said: str = "550 5.1.1 <jeanne@example.com>: unknown", action: str = "failed"
) -> str:
    return POSTFIX.format(status=status, said=said, action=action)


@pytest.mark.parametrize(
    ("mail", "reason", "status"),
    [
        (a_report(), "unknown_address", "5.1.1"),
        (a_report("5.4.4", "Host or domain name not found"), "unknown_address", "5.4.4"),
        (a_report("5.7.1", "550 5.7.1 Message refused"), "refused_by_policy", "5.7.1"),
        (a_report("5.3.4", "552 5.3.4 message size exceeds limit"), "too_large", "5.3.4"),
        (a_report("4.4.7", "delivery time expired"), "undeliverable", "4.4.7"),
        (a_report("5.0.0", "550 no such user here"), "unknown_address", "5.0.0"),
        (a_report("5.0.0 (unspecified)", "550 5.2.2 over quota"), "mailbox_full", "5.0.0"),
        (EXCHANGE, "unknown_address", "5.1.10"),
        (GMAIL, "mailbox_full", "4.2.2"),
        (UTF8, "mailbox_disabled", "5.2.1"),
        (QMAIL.format(said="Sorry, no mailbox here by that name. (#5.1.1)"), "unknown_address", "5.1.1"),
        (QMAIL.format(said="<jeanne@example.com>:\n550 mailbox is full"), "mailbox_full", None),
        (QMAIL.format(said="No host answers (#4.4.1)\nI'm not going to try again"), "undeliverable", "4.4.1"),
    ],
)  # fmt: skip
def test_a_mail_that_came_back_for_good_says_why(mail: str, reason: str, status: str | None) -> None:
    found = notice(mail)

    assert found is not None
    assert (found.outcome, found.reason, found.status) == ("bounced", reason, status)
    assert reason in BOUNCE_REASONS


def test_a_mail_that_arrived_is_told_as_that() -> None:
    assert notice(a_report("2.0.0", "250 ok", "delivered")) == Notice("delivered")


@pytest.mark.parametrize(
    "mail",
    [
        a_report("4.4.1", "connect timed out", "delayed"),
        a_report("2.0.0", "250 ok", "relayed"),
        QMAIL.format(said="It is 5.1.2.3 that does not answer; I will try again. (#4.4.1)"),
        AWAY,
        "Subject: hello\n\nwhat is this?",
        "",
        "\0\xff: \r\n\r\n",
    ],
)
def test_what_says_nothing_final_is_nothing(mail: str) -> None:
    assert notice(mail) is None


def test_prose_of_somebody_counts_only_when_it_is_a_mail_server_who_writes() -> None:
    prose = "\n\nThe address is wrong: 550 5.1.1 user unknown"

    assert notice(f"From: jeanne@example.com{prose}", no_sender=False) is None
    assert notice(f"From: Mailer-Daemon@mx.example.net{prose}", no_sender=False) is not None
    assert notice(f"From: jeanne@example.com{prose}", no_sender=True) is not None


@pytest.mark.parametrize(
    "hostile",
    [
        b"Content-Type: multipart/mixed; boundary=a\n\n--a\n" * 20_000,
        b"Content-Type: message/rfc822\n\n" * 30_000,
        b"Content-Type: multipart/report; boundary=a\n\n" + b"--a\n\n" * 10_000,
        b"Content-Type: message/delivery-status\n\n" + b"Action: x\n\n" * 90_000,
        b"Content-Type: message/global-delivery-status\n\na: b\n\n" + b"\n \n" * 300_000,
        b"Content-Type: text/plain; charset=no-such\nContent-Transfer-Encoding: base64\n\n" + b"=" * 900_000,
        b"From: mailer-daemon\n\n" + b"5.1.1" * 100_000 + b"mailbox " * 10_000,
        b"Content-Type: " + b"(" * 900_000,
    ],
)
def test_whatever_is_sent_is_read_to_an_end(hostile: bytes) -> None:
    found = read(hostile, no_sender=True)

    assert found is None or found.reason in BOUNCE_REASONS


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("550 5.1.1 no j@example.com", "unknown_address"),
        ("550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", "unknown_address"),
        ("550 Requested action not taken: mailbox not found", "unknown_address"),
        ("552 too big", "too_large"),
        ("552 5.2.2 Mailbox full", "mailbox_full"),
        ("554 The account has been suspended", "mailbox_disabled"),
        ("554 5.7.26 Unauthenticated email is not accepted due to DMARC", "refused_by_policy"),
        ("550 Blocked by our list", "refused_by_policy"),
        ("550 no", "undeliverable"),
        ("550 our build 15.1.1 at 5.1.1.7 says no", "undeliverable"),
    ],
)
def test_what_a_server_said_gives_the_reason(said: str, reason: str) -> None:
    assert why(said) == reason


def test_what_is_shown_of_it_holds_no_address_and_no_name_of_a_mailbox() -> None:
    said = "550 5.1.1 <Jeanne.Martin@example.com>:\r\n jeanne.martin is unknown to jeanne.martin-smith@example.com"

    assert shown(said, "jeanne.martin@example.com") == "550 5.1.1 <…>: … is unknown to …"
    assert len(shown("x " * 500)) <= 200
