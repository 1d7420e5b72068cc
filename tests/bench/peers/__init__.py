"""What a user would take instead, and the floor. README.md says what each guarantees."""
