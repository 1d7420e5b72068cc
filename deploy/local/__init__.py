"""Runs all of Convive on one machine, without containers: broker, database, both services and an inbox."""
