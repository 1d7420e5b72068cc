"""A program that has nothing to do with the services and would use a core alone: it parses JSON for ever."""

from __future__ import annotations

import json


def main() -> None:
    """Never returns."""
    document = json.dumps([{"number": number, "text": str(number) * 3} for number in range(4000)])
    while True:
        json.loads(document)


if __name__ == "__main__":
    main()
