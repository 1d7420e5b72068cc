from __future__ import annotations

import pytest

from convive_contracts import DIRECTORY_SOURCE, DossierState, new_event
from directory.model.dossier import Dossier, search_key
from directory.model.refusals import DossierArchived
from tests.unit.directory.making import NOW, a_dossier, member_fields


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Éléonore  & Cie", "eleonore & cie"),
        ("BOULANGERIE", "boulangerie"),
        ("Straße", "strasse"),
        ("ﬁducie", "fiducie"),
        ("محمد", "محمد"),
    ],
)
def test_a_search_key_has_no_case_and_no_accents(text: str, key: str) -> None:
    assert search_key(text) == key


def test_a_dossier_is_announced_with_its_full_state() -> None:
    change = Dossier.opened("00000000-0000-0000-0000-000000000001", a_dossier().cabinet_id, "Martin", now=NOW)
    (announcement,) = change.announcements
    event = new_event(announcement.type, source=DIRECTORY_SOURCE, subject=announcement.subject, data=announcement.data)
    assert isinstance(event.data, DossierState)
    assert (event.data.name, event.data.archived) == ("Martin", False)


def test_members_named_at_the_creation_are_written_with_it() -> None:
    dossier = a_dossier(members=(member_fields(),))
    assert len(dossier.members_to_add) == 1
    assert dossier.unfinished_since == NOW
    done = dossier.finished()
    assert done
    assert (done.after.members_to_add, done.after.unfinished_since) == ((), None)
    assert done.after.finished() is None


def test_archiving_is_announced_once_and_forgets_who_was_to_be_added() -> None:
    change = a_dossier(members=(member_fields(),)).archive(NOW)
    assert change
    assert change.announcements[0].data["archived"] is True
    assert change.after.members_to_add == ()
    assert change.after.unfinished_since == NOW
    assert change.after.archive(NOW) is None
    with pytest.raises(DossierArchived):
        change.after.edited(name="Other")


def test_renaming_is_announced_and_found_by_the_new_name() -> None:
    dossier = a_dossier()
    change = dossier.edited(name="Pâtisserie Martin")
    assert change
    assert change.announcements[0].data["name"] == "Pâtisserie Martin"
    assert change.after.name_key == "patisserie martin"
    assert dossier.edited(name=dossier.name) is None
