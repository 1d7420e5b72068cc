"""Becomes the program in Node, having written what it must be told of the product: words, layout and indexes.

`python -m tests.bench.peers.node_usual`, with the product's environment variables, and in BENCH_MAIL where to write.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from invitation.store.mongo import INDEXES, INVITATIONS
from tests.bench.peers import usual
from tests.bench.peers.node_usual import PROGRAM


class _Slots(dict[str, str]):
    """Gives every name back as a slot of that name."""

    def __missing__(self, name: str) -> str:
        return f"[[{name}]]"


def told() -> dict[str, object]:
    languages = {
        locale: {
            "text": usual.TEXT[locale],
            "html": usual.HTML[locale],
            "sentences": {name: sentence % _Slots() for name, sentence in sentences.items()},
        }
        for locale, sentences in usual.SENTENCES.items()
    }
    return {
        "from": usual.FROM,
        "queue": usual.EVENTS,
        "exchange": usual.EXCHANGE,
        "routing_key": usual.ROUTING_KEY,
        "content_type": usual.CONTENT_TYPE,
        "collection": INVITATIONS,
        "indexes": [index.document for index in INDEXES],
        "languages": languages,
    }


if __name__ == "__main__":
    Path(os.environ["BENCH_MAIL"]).write_text(json.dumps(told()))
    os.execvp("node", ["node", str(PROGRAM)])
