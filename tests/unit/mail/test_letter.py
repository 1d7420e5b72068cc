"""One mail, as a mailbox reads it back."""

from __future__ import annotations

import email
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from invitation.delivery.headers import UnusableAddress
from invitation.delivery.mail import Letter, MailRenderer
from invitation.wording import plain

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
LINK = "https://convive.example/i/eyJhIjoxfQ.Zk3-abc_def.0123456789"
RENDERER = MailRenderer("noreply@convive.example")

JEANNE = Letter(
    invitation_id="0b6f1c1e-7a6c-5d2a-9b60-0c4c1b2a3d4e",
    send_sequence=1,
    locale="fr",
    first_name="Jeanne",
    last_name="Martin",
    to="jeanne@example.com",
    cabinet_name="Cabinet Léger",
    cabinet_phone="+33123456789",
    dossier_name="Boulangerie Martin",
    role="standard_user",
    own_expense_reports=False,
    link=LINK,
    expires_at=NOW + timedelta(days=14),
    time_zone="Europe/Paris",
    invited_by=None,
)

FIELDS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Content-Language",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "Content-Type",
]

# Whatever a foreign publisher may send, half surrogates and controls included.
anything = st.text(st.characters(), max_size=120)
hostile = [
    "Eve\r\nBcc: everyone@example.com",
    "Eve\n\n<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><a href="https://evil.example">click</a>',
    'Dupont, Jean "le Grand" <jean@evil.example>',
    "=?utf-8?q?Eve=0D=0ABcc:_x?=",
    "[[link]] %(link)s {{ link }} %s",
    "--=_convive--",
    "שלום \u202egnp.exe",
    "👩‍👩‍👧‍👦 مكتب المحاسبة",
    "\ud800half",
    "é" * 100,
    "",
    " ",
    ".",
]


def read(letter: Letter, now: datetime = NOW) -> EmailMessage:
    return cast("EmailMessage", email.message_from_bytes(RENDERER.render(letter, now), policy=default))


def part(message: EmailMessage, subtype: str) -> str:
    body = message.get_body((subtype,))
    assert body is not None
    return cast("EmailMessage", body).get_content()


def shown(message: EmailMessage, field: str) -> str:
    """A field without the isolates that stand around right-to-left names."""
    # The modern parser of Python before 3.13 keeps the space between two encoded words of a display name.
    (value,) = [value for name, value in message.raw_items() if name == field]
    return str(make_header(decode_header(str(value).replace("\r\n", "")))).replace("\u2068", "").replace("\u2069", "")


class Skeleton(HTMLParser):
    """The tags of a document, what their text says, and where its links go."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: set[str] = set()
        self.text = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # A span holds each name that is there at all.
        if tag != "span":
            self.tags.append(tag)
        self.links.update(value or "" for name, value in attrs if name in {"href", "src"})

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_firm_is_the_sender_and_the_person_the_recipient() -> None:
    message = read(JEANNE)
    assert message["From"] == "Cabinet Léger via Convive <noreply@convive.example>"
    assert message["To"] == "Jeanne Martin <jeanne@example.com>"
    assert message["Subject"] == "Cabinet Léger vous invite à rejoindre le dossier «\xa0Boulangerie Martin\xa0»"
    assert message["Date"].datetime == NOW


def test_nothing_answers_a_mail_that_no_one_wrote_by_hand() -> None:
    message = read(JEANNE)
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Auto-Response-Suppress"] == "All"


def test_the_message_id_is_that_of_the_send() -> None:
    first, again = read(JEANNE), read(JEANNE, NOW + timedelta(hours=1))
    assert first["Message-ID"] == again["Message-ID"] == f"<{JEANNE.invitation_id}.1@convive.example>"
    assert read(replace(JEANNE, send_sequence=2))["Message-ID"] == f"<{JEANNE.invitation_id}.2@convive.example>"


def test_the_same_letter_gives_the_same_bytes() -> None:
    assert RENDERER.render(JEANNE, NOW) == MailRenderer("noreply@convive.example").render(JEANNE, NOW)


def test_both_parts_say_who_invites_to_what_in_which_role_until_when_and_whom_to_call() -> None:
    message = read(replace(JEANNE, invited_by="Sophie Durand", own_expense_reports=True))
    text, html = part(message, "plain"), Skeleton(part(message, "html")).text
    for sentence in (
        "Bonjour Jeanne,",
        "Sophie Durand (Cabinet Léger) vous invite à rejoindre le dossier en ligne «\xa0Boulangerie Martin\xa0».",
        "Utilisateur standard",
        "Vous pouvez aussi déposer vos propres notes de frais.",
        "Il est valable jusqu’au mardi 8\xa0décembre 2026 à 10\xa0h\xa030 (Paris).",
        "Cabinet Léger vous répond au 01\xa023\xa045\xa067\xa089.",
        LINK,
    ):
        assert sentence in text
        assert sentence in html


def test_the_english_mail_is_english() -> None:
    text = part(read(replace(JEANNE, locale="en", time_zone="America/Montreal")), "plain")
    assert text.startswith("Hello Jeanne,\r\n\r\nCabinet Léger invites you to join")
    assert "Tuesday 8\xa0December 2026 at 04:30" in text
    assert "+33\xa01\xa023\xa045\xa067\xa089" in text


def test_a_language_we_do_not_have_is_written_to_in_english() -> None:
    assert read(replace(JEANNE, locale="de"))["Content-Language"] == "en"
    assert read(replace(JEANNE, locale="fr-CA"))["Content-Language"] == "fr"


def test_a_reminder_says_so() -> None:
    message = read(replace(JEANNE, reminder=True))
    assert message["Subject"].startswith("Rappel\xa0: ")
    assert "vous attend toujours" in part(message, "plain")


def test_a_firm_without_telephone_is_named_all_the_same() -> None:
    message = read(replace(JEANNE, cabinet_phone=None))
    assert "Adressez-vous à votre cabinet, Cabinet Léger." in part(message, "plain")
    assert "tel:" not in part(message, "html")


def test_a_role_that_is_new_to_us_still_reads_well() -> None:
    text = part(read(replace(JEANNE, role="auditor", locale="en")), "plain")
    assert "Your role: Guest" in text
    assert "auditor" not in text


def test_the_html_fetches_nothing_and_links_to_the_link_alone() -> None:
    document = part(read(JEANNE), "html")
    assert Skeleton(document).links == {LINK, "tel:+33123456789"}
    assert not re.search(r"<(img|link|script|iframe)\b|@import|url\(", document)


def test_the_button_has_the_firms_colour_and_words_that_can_be_read_on_it() -> None:
    for colour, words in (("#7a1f5c", "#ffffff"), ("#ffd400", "#000000")):
        document = part(read(replace(JEANNE, colour=colour)), "html")
        (button,) = re.findall(r'<td[^>]*bgcolor="([^"]*)"', document)
        assert button == colour
        assert f"solid 3px {colour}" in document
        assert f"color:{words};" in document
    assert 'bgcolor="#17594a"' in part(read(JEANNE), "html")


def test_answers_go_to_the_firm_where_it_wants_them_and_the_mail_says_so() -> None:
    answered = read(replace(JEANNE, locale="en", reply_to="bonjour@leger.example"))
    assert answered["Reply-To"] == "Cabinet Léger <bonjour@leger.example>"
    assert "Cabinet Léger, which reads your reply." in part(answered, "plain")
    assert "which reads your reply." in part(answered, "html")
    assert [field for field in answered.keys() if field != "Reply-To"] == FIELDS  # noqa: SIM118 - in their order
    for nowhere in (None, "a,b@c.example", "zoé@leger.example", "a@b.example\r\nBcc: c@d.example"):
        unanswered = read(replace(JEANNE, locale="en", reply_to=nowhere))
        assert list(unanswered.keys()) == FIELDS
        assert "Replies to this address are not read." in part(unanswered, "plain")


def test_an_unknown_time_zone_is_told_in_universal_time() -> None:
    assert "09:30 (UTC)" in part(read(replace(JEANNE, locale="en", time_zone="Mars/Olympus")), "plain")


@pytest.mark.parametrize(
    "address",
    [
        "a@b.example\r\nBcc: c@d.example",
        "a b@example.com",
        "a@",
        "<a@example.com>",
        "a,b@c.example",
        "",
        "a@b@c.example",
        "é\ud800@example.com",
    ],
)
def test_an_address_that_is_not_one_address_is_refused(address: str) -> None:
    with pytest.raises(UnusableAddress):
        RENDERER.render(replace(JEANNE, to=address), NOW)


def test_an_international_domain_goes_out_in_ascii() -> None:
    assert read(replace(JEANNE, to="jeanne@société.example"))["To"].addresses[0].domain == "xn--socit-esab.example"


def test_right_to_left_names_are_isolated_and_others_left_alone() -> None:
    hebrew = read(replace(JEANNE, cabinet_name="עדי"))
    assert hebrew["Subject"].startswith("\u2068עדי\u2069 vous invite")
    assert '<span dir="auto">עדי</span>' in part(hebrew, "html")
    assert "\u2068" not in part(read(JEANNE), "plain")


def test_a_name_cannot_turn_the_text_around_it() -> None:
    assert "\u202e" not in RENDERER.render(replace(JEANNE, first_name="gnp.\u202eexe"), NOW).decode()


@pytest.mark.parametrize("name", hostile)
def test_a_hostile_name_is_only_a_name(name: str) -> None:
    assert_only_names(replace(JEANNE, first_name=name, last_name=name, cabinet_name=name, dossier_name=name))


@given(first=anything, last=anything, cabinet=anything, dossier=anything, person=anything, phone=anything)
@example("a\x85b", "\u2028", "\x1c", "\x0b", "\x0c", "\x1e")
def test_any_name_is_only_a_name(first: str, last: str, cabinet: str, dossier: str, person: str, phone: str) -> None:
    assert_only_names(
        replace(
            JEANNE,
            first_name=first,
            last_name=last,
            cabinet_name=cabinet,
            dossier_name=dossier,
            invited_by=person,
            cabinet_phone=phone,
        )
    )


def assert_only_names(letter: Letter) -> None:
    octets = RENDERER.render(letter, NOW)
    assert octets.endswith(b"--\r\n")
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert b"\r" not in octets.replace(b"\r\n", b"")
    assert octets.isascii()
    assert max(map(len, octets.split(b"\r\n"))) <= 78

    message = email.message_from_bytes(octets, policy=default)
    assert isinstance(message, EmailMessage)
    assert message.keys() == FIELDS
    assert [part.get_content_type() for part in message.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert not any(part.defects for part in message.walk())
    assert [address.addr_spec for address in message["From"].addresses] == ["noreply@convive.example"]
    assert [address.addr_spec for address in message["To"].addresses] == ["jeanne@example.com"]

    cabinet, dossier = plain(letter.cabinet_name), plain(letter.dossier_name)
    sender = f"{cabinet} via Convive" if cabinet else "Convive"
    assert shown(message, "Subject") == plain(f"{cabinet} vous invite à rejoindre le dossier «\xa0{dossier}\xa0»")
    assert unquoted(shown(message, "From")) == f"{sender} <noreply@convive.example>"
    recipient = plain(f"{plain(letter.first_name)} {plain(letter.last_name)}")
    assert unquoted(shown(message, "To")) in {f"{recipient} <jeanne@example.com>", "jeanne@example.com"}

    document = Skeleton(part(message, "html"))
    dialled = {link for link in document.links if re.fullmatch(r"tel:\+[0-9]+", link)}
    assert document.links - dialled == {LINK}
    baseline = Skeleton(part(read(replace(JEANNE, cabinet_phone=None)), "html"))
    assert [tag for tag in document.tags if tag != "a"] == [tag for tag in baseline.tags if tag != "a"]
    # Parsers take NUL and the like for spaces; a name as it is printed has none left.
    assert dossier in document.text
    assert dossier in part(message, "plain").replace("\u2068", "").replace("\u2069", "")


def unquoted(mailbox: str) -> str:
    """A mailbox with its display name taken out of its quotes."""
    match = re.fullmatch(r'"((?:[^"\\]|\\.)*)" (<.*>)', mailbox)
    return re.sub(r"\\(.)", r"\1", match[1]) + " " + match[2] if match else mailbox
