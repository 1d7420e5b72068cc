"""How long a text message is: what networks count, and what they would bill."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invitation.delivery.segments import Segments, in_gsm, parts, segments

EMOJI = "\U0001f600"


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("", Segments("GSM-7", 0, 1)),
        ("a" * 160, Segments("GSM-7", 160, 1)),
        ("a" * 161, Segments("GSM-7", 161, 2)),
        ("a" * 306, Segments("GSM-7", 306, 2)),
        ("a" * 307, Segments("GSM-7", 307, 3)),
        ("éèàùìòÇÉñÑøåßæÄÖÜäöü§¿¡£¥¤@$_\n\r", Segments("GSM-7", 31, 1)),
        ("ΔΦΓΛΩΠΨΣΘΞ", Segments("GSM-7", 10, 1)),
        ("€", Segments("GSM-7", 2, 1)),
        ("{}[]\\~^|\f", Segments("GSM-7", 18, 1)),
        ("€" * 80, Segments("GSM-7", 160, 1)),
        # 153 is odd: an escape pair that would be cut in two goes into the next segment whole.
        ("€" * 81, Segments("GSM-7", 162, 2)),
        ("€" * 153, Segments("GSM-7", 306, 3)),
        ("a" * 152 + "€" + "a" * 152, Segments("GSM-7", 306, 3)),
        ("ç", Segments("UCS-2", 1, 1)),
        ("ê" * 70, Segments("UCS-2", 70, 1)),
        ("ê" * 71, Segments("UCS-2", 71, 2)),
        ("ê" * 134, Segments("UCS-2", 134, 2)),
        ("ê" * 135, Segments("UCS-2", 135, 3)),
        (EMOJI * 35, Segments("UCS-2", 70, 1)),
        (EMOJI * 36, Segments("UCS-2", 72, 2)),
        # 67 is odd too: no surrogate pair is cut in two.
        (EMOJI * 67, Segments("UCS-2", 134, 3)),
        ("’", Segments("UCS-2", 1, 1)),
        ("\u00a0", Segments("UCS-2", 1, 1)),
    ],
)
def test_a_text_is_counted_as_networks_do(text: str, counted: Segments) -> None:
    assert segments(text) == counted


@given(st.text(alphabet=st.sampled_from("aé€^ç\n" + EMOJI), max_size=700) | st.text(max_size=400))
def test_segments_together_are_the_text_and_none_is_too_long(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    cut, counted = list(parts(text)), segments(text)
    assert "".join(cut) == text
    assert len(cut) == counted.segments
    room = {"GSM-7": (160, 153), "UCS-2": (70, 67)}[counted.encoding][len(cut) > 1]
    for part in cut:
        units = segments(part).characters if counted.encoding == "GSM-7" else len(part.encode("utf-16-be")) // 2
        assert units <= room


@pytest.mark.parametrize(
    ("text", "plainer"),
    [
        ("Cabinet Léger", "Cabinet Léger"),
        ("Le\u0301ger", "Léger"),
        ("Garçon & Cœur", "Garcon & Coeur"),
        ("Hôtel de l’Être", "Hotel de l'Etre"),
        ("«\u00a0Boulangerie\u202f»", '" Boulangerie "'),
        ("Łódź – Škoda…", "Lodz - Skoda..."),
        ("İstanbul Şirketi ı", "Istanbul Sirketi i"),
        ("Société\u200b Mar\u00adtin", "Société Martin"),
        ("ﬁduciaire", "fiduciaire"),
        ("Παπαδόπουλος", None),
        ("Иванов", None),
        ("東京", None),
        (EMOJI, None),
    ],
)
def test_a_name_loses_no_more_than_it_must_to_stay_in_the_short_alphabet(text: str, plainer: str | None) -> None:
    assert in_gsm(text) == plainer


@given(st.text(max_size=100))
def test_what_is_brought_into_the_short_alphabet_is_in_it(text: str) -> None:
    plainer = in_gsm(text)
    assert plainer is None or segments(plainer).encoding == "GSM-7"
