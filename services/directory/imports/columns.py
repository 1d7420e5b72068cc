"""What columns a table may have, and the words in them, in French and English. Data, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

from convive_kit.text import search_key

COLUMNS: Mapping[str, Sequence[str]] = {
    "first_name": ("prénom", "first name", "given name", "forename"),
    "last_name": ("nom", "nom de famille", "last name", "family name", "surname"),
    "email": (
        "e-mail", "adresse e-mail", "courriel", "adresse électronique", "adresse de messagerie", "adresse mail", "mail",
        "email address",
    ),
    "phone": (
        "mobile", "portable", "téléphone mobile", "téléphone portable", "mobile phone", "mobile number", "téléphone",
        "tél", "numéro de téléphone", "phone", "phone number", "telephone",
    ),
    "employee_code": (
        "code salarié", "code employé", "matricule", "employee code", "employee number", "employee id",
    ),
    "role": ("rôle", "role", "profil"),
    "own_expense_reports": (
        "notes de frais", "note de frais", "ses notes de frais", "dépose ses notes de frais", "own expense reports",
        "expense reports", "expenses",
    ),
    "dossier": (
        "dossier", "dossier client", "nom du dossier", "référence du dossier", "client", "société", "entreprise",
        "client file", "file", "file name", "file reference", "company",
    ),
    "locale": ("langue", "language"),
    "invite_by": ("invitation", "inviter par", "invité par", "mode d'invitation", "invite by", "invitation by"),
}  # fmt: skip
"""What a column may be called. Where a table has several for one, the first named here that is filled in counts."""

REQUIRED = ("first_name", "last_name", "email")

ROLES: Mapping[str, Sequence[str]] = {
    "expense_approver": (
        "expense approver", "approver", "approbateur", "approbatrice", "valideur", "approbateur de notes de frais",
        "approbateur des notes de frais", "valideur de notes de frais",
    ),
    "standard_user": ("standard user", "standard", "user", "utilisateur standard", "utilisateur", "utilisatrice"),
    "administrator": ("administrator", "admin", "administrateur", "administratrice"),
}  # fmt: skip
CHANNELS: Mapping[str, Sequence[str]] = {
    "email": ("e-mail", "mail", "courriel"),
    "sms": ("sms", "texto", "text message"),
    "none": ("none", "no", "later", "aucune", "aucun", "non", "plus tard", "ne pas inviter", "-"),
}
LANGUAGES: Mapping[str, Sequence[str]] = {"fr": ("français", "french"), "en": ("anglais", "english")}
FLAGS: Mapping[bool, Sequence[str]] = {
    True: ("oui", "o", "yes", "y", "vrai", "true", "x", "1", "✓", "✔"),
    False: ("non", "n", "no", "faux", "false", "0", "-"),
}


def word(text: str) -> str:
    """What two spellings of a word have in common: no case, accents, spaces, marks, or remark in brackets."""
    bare = search_key(re.sub(r"\(.*?\)", "", text))
    return re.sub(r"[\W_]+", "", bare) or text.strip()


@cache
def column_of(heading: str) -> tuple[str, int] | None:
    """Which column a heading means, and how good a name of it this is (0: the best); None for one we do not use."""
    return _COLUMN_OF.get(word(heading))


_COLUMN_OF = {
    word(name): (column, rank)
    for column, names in COLUMNS.items()
    for rank, name in enumerate((*names, column.replace("_", " ")))
}
ROLE_OF = {word(name): role for role, names in ROLES.items() for name in (*names, role)}
CHANNEL_OF = {word(name): channel for channel, names in CHANNELS.items() for name in names}
LANGUAGE_OF = {word(name): language for language, names in LANGUAGES.items() for name in names}
FLAG_OF = {word(name): flag for flag, names in FLAGS.items() for name in names}
