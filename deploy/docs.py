"""The pages of docs/ that are made from the code: `python -m deploy.docs` (`make docs`) writes them anew."""

from __future__ import annotations

from pathlib import Path

from convive_kit.settings import configuration_page
from deploy.local.programs import REPOSITORY
from directory.settings import DirectorySettings
from invitation.cli import reference
from invitation.lifecycle import diagram
from invitation.settings import InvitationSettings

FOLDER = REPOSITORY / "docs"


def pages() -> dict[str, str]:
    """What each of these pages says, by its file name."""
    services = [("The directory", DirectorySettings), ("The invitation service", InvitationSettings)]
    return {
        "configuration.md": configuration_page(services),
        "lifecycle.md": diagram.page(),
        "cli.md": reference.page((FOLDER / "cli-session.txt").read_text()),
    }


def write(folder: Path = FOLDER) -> None:
    for name, text in pages().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write()
