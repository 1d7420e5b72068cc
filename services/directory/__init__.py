"""Cabinets, dossiers, members and accounts: who may come in, and who is in."""
