"""What the holder of a link reads."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import directory
import invitation
from convive_kit import static
from convive_kit.passwords import Reason
from invitation.i18n import LOCALES, Locale
from invitation.pages.context import (
    AlreadyActive,
    ConfirmDecline,
    Declined,
    DeclineReason,
    ExistingAccount,
    Expired,
    Firm,
    Guest,
    Invitation,
    Page,
    Renewed,
    Revoked,
    SignedIn,
    Superseded,
    Taken,
    TooMany,
    TryAgain,
    UnknownLink,
    Visit,
)
from invitation.pages.passwords import explain
from invitation.pages.render import PageRenderer, security_headers
from invitation.wording import masked

PATH = "/i/eyJhIjoxfQ.Zk3-abc_def"
RENDERER = PageRenderer()
EXPIRY = datetime(2026, 12, 8, 13, 5, tzinfo=UTC)
FIRM = Firm("Cabinet Léger", "Boulangerie Martin", "+33123456789", "Sophie Durand")
JEANNE = Guest("Jeanne", "Martin", "jeanne@example.com", "expense_approver", True, EXPIRY, "Europe/Paris")
SIGN_IN = "https://directory.example/sign-in"

PAGES: list[Page] = [
    Invitation(FIRM, JEANNE),
    Invitation(FIRM, JEANNE, (Reason.PERSONAL, Reason.ADD_WORDS)),
    *(ExistingAccount(FIRM, JEANNE, signed_in) for signed_in in SignedIn),
    ExistingAccount(FIRM, JEANNE, wrong_password=True),
    AlreadyActive(FIRM, SIGN_IN),
    Expired(FIRM, EXPIRY, "Europe/Paris"),
    Superseded(FIRM),
    Renewed(FIRM),
    Revoked(FIRM),
    ConfirmDecline(FIRM, JEANNE),
    ConfirmDecline(FIRM, JEANNE, unanswered=True),
    Declined(FIRM),
    Declined(FIRM, just_now=True),
    Taken(FIRM, SIGN_IN),
    TryAgain(FIRM),
    TryAgain(),
    TooMany(125, FIRM),
    UnknownLink(),
]

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: type(page).__name__)
every_language = pytest.mark.parametrize("locale", LOCALES)


class Outline(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def render(page: Page, locale: Locale = "fr", *, switched: bool = False) -> str:
    document = RENDERER.render(page, Visit(PATH, locale, switched))
    # It must be possible to send it.
    return document.encode().decode()


def outline(page: Page, locale: Locale = "fr") -> Outline:
    return Outline(render(page, locale))


@every_page
@every_language
def test_a_page_has_its_language_a_title_and_one_heading(page: Page, locale: Locale) -> None:
    read = outline(page, locale)
    assert read.all("html") == [{"lang": locale}]
    assert len(read.all("h1")) == len(read.all("main")) == len(read.all("title")) == 1


@every_page
def test_a_page_has_no_inline_script_or_style_and_loads_only_our_own_files(page: Page) -> None:
    read = outline(page)
    assert not read.all("style")
    for tag, attributes in read.tags:
        assert not any(name == "style" or name.startswith("on") for name in attributes), tag
    loaded = [script["src"] for script in read.all("script")] + [link["href"] for link in read.all("link")]
    assert set(loaded) == {file.path for file in RENDERER.static.values()}


def test_a_firm_with_a_colour_has_one_more_file_of_ours_and_still_no_style_in_the_page() -> None:
    read = outline(Invitation(replace(FIRM, colour="#7a1f5c"), JEANNE))
    colours = RENDERER.colours("firm-7a1f5c.css")
    assert colours
    assert [link["href"] for link in read.all("link") if link["rel"] == "stylesheet"][1:] == [colours.path]
    assert not read.all("style")


@every_page
@every_language
def test_a_page_can_be_read_in_the_other_language(page: Page, locale: Locale) -> None:
    step = "/decline" if isinstance(page, ConfirmDecline) else ""
    links = [link["href"] for link in outline(page, locale).all("a") if link.get("hreflang")]
    assert links == [f"{PATH}{step}?lang=fr", f"{PATH}{step}?lang=en"]


@every_page
def test_the_firm_is_named_as_responsible_for_the_data_and_as_their_source(page: Page) -> None:
    told = "Cabinet Léger est responsable de vos données et les a transmises à Convive" in outline(page).text
    assert told is (page.firm is not None)


@every_page
def test_a_page_that_refuses_says_whom_to_ask(page: Page) -> None:
    if page.firm and page.status >= HTTPStatus.BAD_REQUEST:
        assert "Une question\u202f? Cabinet Léger vous répond au 01\xa023\xa045\xa067\xa089." in outline(page).text


@every_page
def test_no_page_tells_the_address_of_the_person(page: Page) -> None:
    assert "jeanne@" not in render(page)


def test_the_invitation_tells_who_invites_to_what_in_which_role_and_until_when() -> None:
    text = outline(Invitation(FIRM, JEANNE), "en").text
    for sentence in (
        "Welcome, Jeanne",
        "Sophie Durand of Cabinet Léger invites you to join the online file “Boulangerie Martin”.",
        "You see every document of the file and approve expense reports. You can also file your own expense reports.",
        "j•••@example.com",
        "Tuesday 8\xa0December 2026 at 14:05 (Paris)",
        "At least 12 characters.",
    ):
        assert sentence in text


def test_the_password_form_works_as_a_plain_form() -> None:
    read = outline(Invitation(FIRM, JEANNE))
    (form,) = read.all("form")
    assert (form["method"], form["action"], form["data-open"]) == ("post", f"{PATH}/password", f"{PATH}/open")
    (field,) = read.all("input")
    assert (field["name"], field["type"], field["autocomplete"]) == ("password", "password", "new-password")
    assert field["aria-describedby"] == "rule"
    # Paste is never cut silently: too long is an answer, not a limit of the field.
    assert "maxlength" not in field


def test_a_refused_password_comes_back_with_its_reasons_beside_the_field() -> None:
    page = Invitation(FIRM, JEANNE, (Reason.PERSONAL, Reason.ADD_WORDS))
    read = outline(page)
    assert page.status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert explain(Reason.PERSONAL, "fr") in read.text
    assert explain(Reason.ADD_WORDS, "fr") in read.text
    (field,) = read.all("input")
    assert field["aria-invalid"] == "true"
    assert field["aria-describedby"] == "rule errors"
    assert "value" not in field
    (summary,) = [box for box in read.all("div") if box.get("id") == "errors"]
    assert summary["role"] == "alert"
    assert "autofocus" in summary


def test_whoever_is_signed_in_already_only_accepts() -> None:
    read = outline(ExistingAccount(FIRM, JEANNE, SignedIn.GUEST))
    assert not read.all("input")
    assert [form["action"] for form in read.all("form")] == [f"{PATH}/accept"]


def test_another_persons_session_is_mentioned_without_a_name() -> None:
    read = outline(ExistingAccount(FIRM, JEANNE, SignedIn.SOMEBODY_ELSE), "en")
    assert "Another account is signed in on this browser." in read.text
    assert [field["autocomplete"] for field in read.all("input")] == ["current-password"]


@pytest.mark.parametrize("page", [Expired(FIRM, EXPIRY, "Europe/Paris"), Superseded(FIRM)])
def test_an_old_link_offers_a_new_one_and_without_script_asks_for_a_tick(page: Page) -> None:
    read = outline(page)
    assert [form["action"] for form in read.all("form")] == [f"{PATH}/renew"]
    assert read.all("noscript")
    (tick,) = read.all("input")
    assert (tick["type"], tick["name"], tick["value"]) == ("checkbox", "proof", "input")
    assert "checked" not in tick


def test_declining_asks_for_a_reason_that_no_form_has_chosen_beforehand() -> None:
    choices = outline(ConfirmDecline(FIRM, JEANNE)).all("input")
    assert [choice["value"] for choice in choices] == [reason.value for reason in DeclineReason]
    assert {choice["name"] for choice in choices} == {"reason"}
    assert not any("checked" in choice for choice in choices)


@pytest.mark.parametrize("page", [AlreadyActive(FIRM, SIGN_IN), Taken(FIRM, SIGN_IN)])
def test_a_used_link_leads_to_the_sign_in(page: Page) -> None:
    assert SIGN_IN in [link["href"] for link in outline(page).all("a")]


@pytest.mark.parametrize("page", [TryAgain(FIRM), TooMany(60, FIRM)])
def test_a_hindered_person_gets_back_to_the_invitation(page: Page) -> None:
    assert PATH in [link["href"] for link in outline(page).all("a")]


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "in one minute"), (60, "in one minute"), (61, "in 2 minutes"), (600, "in 10 minutes")]
)
def test_the_pause_is_told_in_whole_minutes(seconds: int, told: str) -> None:
    assert told in outline(TooMany(seconds, FIRM), "en").text


def test_an_unknown_link_tells_nothing() -> None:
    text = outline(UnknownLink()).text
    assert "Cabinet" not in text
    assert "Convive" in text


def test_a_chosen_language_stays_chosen() -> None:
    document = render(Invitation(FIRM, JEANNE), "en", switched=True)
    assert f'action="{PATH}/password?lang=en"' in document
    assert f'href="{PATH}/decline?lang=en"' in document
    assert f'action="{PATH}/password"' in render(Invitation(FIRM, JEANNE))


names = st.text(st.characters(), max_size=100)


@given(name=names, phone=names, email=names)
def test_any_name_is_only_a_name(name: str, phone: str, email: str) -> None:
    firm = Firm(name, name, phone, name)
    guest = replace(JEANNE, first_name=name, last_name=name, email=email, role=name, time_zone=name)
    for page in (Invitation(firm, guest), ExistingAccount(firm, guest), ConfirmDecline(firm, guest)):
        expected = [tag for tag, _ in outline(replace(page, firm=replace(FIRM, phone="?"), guest=JEANNE)).tags]
        # A number that can be dialled, and a missing one, change the tags around it.
        aside = {"a", "bdi"}
        found = [tag for tag, _ in outline(page).tags]
        assert [tag for tag in found if tag not in aside] == [tag for tag in expected if tag not in aside]


def test_markup_in_a_name_is_shown_and_not_obeyed() -> None:
    document = render(Invitation(Firm("<script>alert(1)</script>", '"><img src=x>'), JEANNE))
    assert "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi>" in document
    assert "<img" not in document


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("jeanne@example.com", "j•••@example.com"),
        ("é@example.com", "é•••@example.com"),
        ("no address", "•••@no address"),
    ],
)
def test_an_address_is_masked_to_its_first_letter(address: str, shown: str) -> None:
    assert masked(address) == shown


def test_the_policy_allows_our_files_and_the_redirect_to_the_directory_only() -> None:
    policy = security_headers("https://directory.example/base?x=1")["Content-Security-Policy"]
    assert "form-action 'self' https://directory.example;" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_static_files_are_named_by_their_content() -> None:
    page_css = RENDERER.static["page.css"]
    assert re.fullmatch(r"/i/static/page\.css\?v=[0-9a-f]{12}", page_css.path)
    assert page_css.content_type == "text/css"
    assert not re.search(rb"@import|url\(|https?:", page_css.body)


def test_the_design_tokens_come_first_in_each_stylesheet_and_are_written_once() -> None:
    tokens = Path(static.__file__).with_name("tokens.css").read_bytes()
    assert RENDERER.static["page.css"].body.startswith(tokens)
    declared = set(re.findall(rb"--[^;]+;", tokens))
    for stylesheet in (
        Path(directory.__path__[0]) / "web/static/directory.css",
        Path(invitation.__path__[0]) / "console/static/console.css",
        Path(invitation.__path__[0]) / "pages/static/page.css",
    ):
        assert not declared & set(re.findall(rb"--[^;]+;", stylesheet.read_bytes())), stylesheet.name
