"""`python -m trilemma` is the same as the `trilemma` command."""

import contextlib
import os
import sys

if __name__ == "__main__":
    with contextlib.suppress(OSError):  # the working directory was removed
        if not sys.flags.safe_path and sys.path[0] == os.getcwd():
            # Python looks for modules in the working directory first. The command does not, and so may find others.
            del sys.path[0]

    from trilemma.harness.cli import main

    main()
