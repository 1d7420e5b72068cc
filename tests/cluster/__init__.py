"""Several nodes of each engine, of which one is killed under load. `python -m tests.cluster` measures what it costs."""
