"""Where speed is known: `python -m tests.bench`, called by `make bench`."""
