"""What a text message says: short, in the person's language, with the link on a line of its own."""

from __future__ import annotations

import pytest

from invitation.delivery.segments import segments
from invitation.delivery.text import sms_text
from invitation.lifecycle.records import Occasion
from invitation.store.protocol import Names
from tests.unit.lifecycle.making import a_pending, an_invitee

# As long as a link gets behind a host name of 30 characters.
LINK = "https://invitation.convive.example/i/" + "_-" * 35


def said(cabinet: str, dossier: str = "Boulangerie Martin", *, locale: str = "fr", occasion: Occasion = "link") -> str:
    invitation = a_pending("sms")
    invitation.occasion = occasion
    return sms_text(an_invitee(locale=locale), Names(cabinet, None, dossier), invitation, LINK)


@pytest.mark.parametrize(
    ("locale", "occasion", "words"),
    [
        ("fr", "link", 'Cabinet Léger vous invite à rejoindre le dossier "Martin".\nVotre lien personnel :'),
        ("en", "link", 'Cabinet Léger invites you to the file "Martin".\nYour personal link:'),
        ("de", "renewal", 'Cabinet Léger invites you to the file "Martin".\nYour personal link:'),
        ("fr-CA", "reminder", 'Rappel : votre accès au dossier "Martin" (Cabinet Léger) vous attend.\nVotre lien :'),
        ("en", "reminder", 'Reminder: your access to the file "Martin" of Cabinet Léger is waiting.\nYour link:'),
    ],
)
def test_it_says_who_invites_to_what_in_the_persons_language(locale: str, occasion: Occasion, words: str) -> None:
    text = said("Cabinet Léger", "Martin", locale=locale, occasion=occasion)
    assert text == f"{words}\n{LINK}"
    assert (segments(text).encoding, segments(text).segments) == ("GSM-7", 2)


@pytest.mark.parametrize("occasion", ["link", "reminder"])
@pytest.mark.parametrize("locale", ["fr", "en"])
def test_however_long_the_names_it_stays_in_two_segments(locale: str, occasion: Occasion) -> None:
    text = said("Société fiduciaire " * 5, "€uropéenne de boulangerie " * 3, locale=locale, occasion=occasion)
    assert segments(text).encoding == "GSM-7"
    assert segments(text).segments == 2
    assert "..." in text
    assert text.endswith(f"\n{LINK}")


def test_names_lose_accents_only_where_the_short_alphabet_lacks_them() -> None:
    assert said("François & Cœur d’Hérault").startswith("Francois & Coeur d'Hérault vous")


def test_a_name_without_a_latin_form_is_kept_as_it_is_and_so_are_the_others() -> None:
    text = said("Бухгалтерия", "François", locale="en")
    assert text.startswith('Бухгалтерия invites you to the file "François".')
    assert segments(text).encoding == "UCS-2"
    assert segments(said("Бухгалтерия " * 8, "東京" * 50)).segments <= 4


def test_nothing_unseen_in_a_name_reaches_the_message() -> None:
    text = said("\u202eCabi\u200bnet\u2066 Lé\u00adger\u200f\n", "مخبز\u202e\ufeff")
    assert text.startswith("Cabinet Léger vous")
    assert not set(text) & set("\u202e\u200b\u2066\u00ad\u200f\ufeff")
    assert text.count("\n") == 2


def test_a_long_name_is_not_cut_between_a_letter_and_its_mark() -> None:
    text = said("क" + "का" * 30)
    name = text.partition("...")[0]
    assert len(name) <= 21
    assert text[len(name) :].startswith("...")
