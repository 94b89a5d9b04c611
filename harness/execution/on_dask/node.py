"""The process of a Dask cluster on this machine: it holds the scheduler, and the nannies of the worker processes.

The cluster is not a part of the parent process, for four reasons. Its workers would import the main module of the user
again. Ctrl-C in a terminal would reach them. The log of the scheduler would mix with the output. And a scheduler that
ends must not end the run with it.

The process reads its settings as one line of JSON on standard input, `{"workers": N}`, and answers with
`{"address": ADDRESS, "dashboard": LINK}` on standard output. When the input ends, it closes the cluster.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import tempfile

import dask
from distributed import LocalCluster

WORKER_TTL = "60s"  # a worker that is silent for so long counts as lost


def main() -> None:
    """Hold a cluster until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not mix with the answer
    settings = json.loads(sys.stdin.readline())
    dask.config.set({"distributed.scheduler.worker-ttl": WORKER_TTL})
    with (
        tempfile.TemporaryDirectory(prefix="trilemma-dask-", ignore_cleanup_errors=True) as folder,
        LocalCluster(
            n_workers=settings["workers"],
            threads_per_worker=1,
            processes=True,
            memory_limit=0,  # the supervisor of each cell watches its memory
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            local_directory=folder,
        ) as cluster,
    ):
        dashboard = cluster.dashboard_link if importlib.util.find_spec("bokeh") else ""
        answers.write(json.dumps({"address": cluster.scheduler_address, "dashboard": dashboard}) + "\n")
        sys.stdin.read()


if __name__ == "__main__":
    main()
