"""`python -m trilemma` is the same as the `trilemma` command."""

from trilemma.harness.cli import main

if __name__ == "__main__":
    main()
