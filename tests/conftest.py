"""Fixtures for every test: a real broker and a real database of the run's own."""
