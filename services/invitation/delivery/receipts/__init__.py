"""What becomes of a message after a provider took it: bounces by mail, delivery receipts over HTTP."""
