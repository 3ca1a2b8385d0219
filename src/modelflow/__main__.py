"""`python -m modelflow`: the command line, where no `modelflow` is on the path."""

from modelflow.cli import main

if __name__ == "__main__":
    main()
