"""The models of the soak: one that behaves, and those that do what a plugin can do wrong. Loaded with --plugin."""

import ctypes
import mmap
import os
import signal
import sys
import time

import torch

import trilemma


class Steady(trilemma.Model):
    """Behaves: a Gaussian that takes about half a second to fit."""

    name = "steady"
    likelihood = "exact"

    def fit(self, train, ctx):
        ended = time.process_time() + 0.4
        while time.process_time() < ended:
            ctx.progress(0.5, "")
        self.p = torch.distributions.MultivariateNormal(train.x.mean(0), train.x.T.cov())

    def sample(self, n, ctx):
        noise = torch.randn(n, *ctx.info.shape, generator=ctx.generator)
        return self.p.mean + noise @ self.p.scale_tril.T

    def log_prob(self, x, ctx):
        return self.p.log_prob(x)


class Raises(Steady):
    """Raises in fit."""

    name = "raises"

    def fit(self, train, ctx):
        raise RuntimeError("as planned")


class Leaves(Steady):
    """Raises SystemExit in sample."""

    name = "leaves"

    def sample(self, n, ctx):
        raise SystemExit(0)


class ExitsWell(Steady):
    """Ends its process with the code 0 in the middle of fit."""

    name = "exits-well"

    def fit(self, train, ctx):
        os._exit(0)


class ExitsBadly(Steady):
    """Ends its process with the code 3 when it samples."""

    name = "exits-badly"

    def sample(self, n, ctx):
        os._exit(3)


class Segfaults(Steady):
    """Reads where there is no memory."""

    name = "segfaults"

    def fit(self, train, ctx):
        ctypes.string_at(0)


class Aborts(Steady):
    """Aborts."""

    name = "aborts"

    def sample(self, n, ctx):
        os.abort()


class Hangs(Steady):
    """Hangs in Python, deaf to SIGTERM."""

    name = "hangs"

    def fit(self, train, ctx):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)


class HangsInC(Steady):
    """Hangs in a call of C that holds the interpreter, deaf to SIGTERM."""

    name = "hangs-in-c"

    def sample(self, n, ctx):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ctypes.PyDLL(None).sleep(10_000)


class Hogs(Steady):
    """Takes more memory than its limit."""

    name = "hogs"

    def fit(self, train, ctx):
        held = []
        while True:
            # Populated by the system at once: page by page, a busy machine would reach the time limit first.
            held.append(mmap.mmap(-1, 2**26, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE))
            time.sleep(0.02)


class Daemon(Steady):
    """Behaves, but leaves a process of a session of its own behind."""

    name = "daemon"

    def fit(self, train, ctx):
        super().fit(train, ctx)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(10_000)
            os._exit(0)


class Floods(Steady):
    """Behaves, but prints a hundred megabytes."""

    name = "floods"

    def fit(self, train, ctx):
        super().fit(train, ctx)
        for _ in range(100):
            sys.stdout.write("x" * 2**20 + "\n")


class Regicide(Steady):
    """Kills the processes that it was started from, as far as they are processes of trilemma's helper."""

    name = "regicide"

    def fit(self, train, ctx):
        import psutil

        for parent in psutil.Process().parents():
            if any("trilemma.harness.execution.processes.zygote" in word for word in parent.cmdline()):
                parent.kill()
        time.sleep(10)


EXPECTED = {
    "raises": "error",
    "leaves": "error",
    "exits-well": "error",
    "exits-badly": "error",
    "segfaults": "killed",
    "aborts": "killed",
    "hangs": "timeout",
    "hangs-in-c": "timeout",
    "hogs": "out-of-memory",
    "daemon": "ok",
    "floods": "ok",
    "regicide": "killed",
}
"""The outcome that a run must give each of them."""


@trilemma.hookimpl
def trilemma_models():
    return [Steady, Raises, Leaves, ExitsWell, ExitsBadly, Segfaults, Aborts, Hangs, HangsInC, Hogs, Daemon, Floods,
            Regicide]  # fmt: skip
