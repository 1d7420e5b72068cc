"""`python -m invitation.cli`, where `convive` is not on the path."""

from invitation.cli.program import main

if __name__ == "__main__":
    main()
