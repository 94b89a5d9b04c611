"""What is measured looks for garbage as often as any program."""

import gc

gc.set_threshold(700, 10, 10)
