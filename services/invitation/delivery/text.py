"""What a text message says: who invites, to what, and the link, in one segment or two."""

from __future__ import annotations

import unicodedata

from invitation.delivery.segments import encoding_of, in_gsm
from invitation.i18n import msgid, supported, translations
from invitation.lifecycle.invitation import Invitation, Invitee
from invitation.store.protocol import Names
from invitation.wording import plain

# The link stands on a line of its own: no name can touch it, and no right-to-left name can move it.
INVITATION = msgid('%(cabinet)s invites you to the file "%(dossier)s".\nYour personal link:\n%(link)s')
REMINDER = msgid('Reminder: your access to the file "%(dossier)s" of %(cabinet)s is waiting.\nYour link:\n%(link)s')

# With a link of 120 characters, both names at their longest still fit into two segments of GSM-7.
_LONGEST_NAME = {"GSM-7": 42, "UCS-2": 24}
# Signs that turn the text around or cannot be seen, beyond those that `plain` takes out. The two joiners are left:
# Persian and Indic names are spelt with them.
_UNSEEN = dict.fromkeys(map(ord, "\u00ad\u061c\u180e\u200b\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff"))


def sms_text(invitee: Invitee, names: Names, invitation: Invitation, link: str) -> str:
    """The message of the current send, in the person's language.

    It is in GSM-7 wherever the names have a form in Latin letters, for which they lose some accents (see `in_gsm`);
    otherwise it is in UCS-2, with the names as they are. Long names are cut short.
    """
    say = translations(supported(invitee.locale) or "en").gettext
    sentence = say(REMINDER if invitation.occasion == "reminder" else INVITATION)
    given = {"cabinet": _seen(names.cabinet), "dossier": _seen(names.dossier), "link": link}
    plainly = {key: in_gsm(name) for key, name in given.items()}
    if None not in plainly.values():
        given = {key: name or "" for key, name in plainly.items()}
    encoding = encoding_of("".join(given.values()))
    for key in ("cabinet", "dossier"):
        given[key] = _short(given[key], _LONGEST_NAME[encoding])
    said = sentence % given
    return in_gsm(said) or said


def _seen(name: str) -> str:
    return plain(plain(name).translate(_UNSEEN))


def _short(name: str, longest: int) -> str:
    if len(name) <= longest:
        return name
    end = longest - 3
    while end > 1 and unicodedata.combining(name[end]):
        end -= 1
    return f"{name[:end].rstrip()}..."
