"""Ways to run Convive."""
