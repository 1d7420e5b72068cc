"""Where mails and text messages end up on a developer's machine: a mail server, a web page and a small API."""
