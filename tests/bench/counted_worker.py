"""The invitation worker with a listener on its database commands: the product is started as it always is."""

from __future__ import annotations

import os
from pathlib import Path

from pymongo import monitoring

from tests.bench.counting import FILE_VARIABLE, CommandCounts

# Before the product is imported: clients take the listeners that are there when they are made.
monitoring.register(CommandCounts(Path(os.environ[FILE_VARIABLE])))

from invitation.__main__ import main  # noqa: E402

if __name__ == "__main__":
    main()
