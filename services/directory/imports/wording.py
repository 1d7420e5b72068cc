"""Why a file cannot be read, and why a row is not added, in English; the pages translate it. Data, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from directory.i18n import msgid
from directory.imports.judging import Note

UNREADABLE = {
    "too_large": msgid("The file is larger than %(most)s MiB: split it into several."),
    "too_many_rows": msgid("The file has more than %(most)s rows: split it into several."),
    "too_many_columns": msgid("Row %(row)s has more than %(most)s columns: is this the right file?"),
    "broken_row": msgid("Row %(row)s cannot be read: is a quotation mark missing there?"),
    "no_text": msgid("This is no text that we can read: save the table as CSV (UTF-8) and try again."),
    "other_file": msgid("This is a file of the kind %(kind)s: open it, save the table as CSV (UTF-8) and try again."),
    "empty": msgid("The file is empty."),
    "no_rows": msgid("There is nobody in the file: below the headings every row is empty."),
    "no_column": msgid(
        "There is no column “%(missing)s”. The first row must name the columns; these were found: %(found)s"
    ),
}
REASONS = {
    "missing": msgid("This is missing."),
    "too_long": msgid("This is too long: 100 characters at most."),
    "cell_too_long": msgid("This has more than %(most)s characters: is a quotation mark not closed?"),
    "does_not_fit": msgid("This cannot be used as it is."),
    "bad_name": msgid("Give a name of 1 to 100 characters, without line breaks."),
    "bad_email": msgid("Give an e-mail address such as jeanne@example.com."),
    "bad_phone": msgid("Give a phone number such as 06 12 34 56 78 or +33 6 12 34 56 78."),
    "not_a_mobile": msgid("This number cannot receive text messages: give a mobile number, or invite by e-mail."),
    "phone_needed": msgid("A mobile number is needed to invite by SMS."),
    "unknown_role": msgid("There is no role “%(said)s”: give approver, standard user or administrator."),
    "neither_yes_nor_no": msgid("“%(said)s” is neither yes nor no."),
    "unknown_language": msgid("There is no language “%(said)s”: give French or English."),
    "unknown_way": msgid("“%(said)s” is no way to invite: give e-mail, SMS or later."),
    "other_dossier": msgid("This row is for another client file: “%(said)s”."),
    "ambiguous_dossier": msgid("Several client files have this name: give the reference of the one you mean."),
    "mistyped": msgid("%(said)s: do you mean %(meant)s?"),
    "repeated": msgid("The same person is in row %(row)s."),
    "differs": msgid("This differs from what is known of the person, and is not changed."),
    "dossier_archived": msgid("The client file was archived meanwhile."),
    "role_retired": msgid("This role is no longer given to anybody: choose another."),
}

OUTCOMES = {
    "to_be_added": msgid("To be added"),
    "added": msgid("Added"),
    "already_there": msgid("Already there"),
    "differs": msgid("Already there, with other details"),
    "repeated": msgid("Left out: a row before is for the same person"),
    "invalid": msgid("Not added: please correct"),
    "refused": msgid("Not added"),
    "not_carried_out": msgid("Not carried out"),
}
RESULT, WHY = msgid("Result"), msgid("Why")


def sentence(note: Note, translate: Callable[[str], str] = str) -> str:
    """What a note says."""
    return translate(REASONS[note["slug"]]) % note["about"]
