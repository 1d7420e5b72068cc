"""What the directory knows and decides. Pure: no I/O, no clock, no randomness of its own."""
