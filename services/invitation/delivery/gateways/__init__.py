"""Providers of text messages, each in its own words."""
