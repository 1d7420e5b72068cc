"""The mails that the directory writes itself."""
