"""`python -m trilemma` is the same as the `trilemma` command."""

import os
import sys

if __name__ == "__main__":
    if not sys.flags.safe_path and sys.path[0] == os.getcwd():
        # Python looks for modules in the working directory first. The command does not, and so may find other ones.
        del sys.path[0]

    from trilemma.harness.cli import main

    main()
