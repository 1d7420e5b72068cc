"""Pages for people: plain forms, no script, nothing from elsewhere."""
