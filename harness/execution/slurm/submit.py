"""The process that submits parts to the cluster, as one array: `python -m trilemma.harness.execution.slurm.submit`.

It has a session of its own, so that an end of the launcher, or Ctrl-C, never ends it between the submission and the
note of the job's identity. On standard input it gets JSON: `folder`, `cluster`, `parameters`, `parts`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .node import run_part
from .parts import Part


def submit(folder: str, cluster: str, parameters: dict[str, Any], parts: list[str]) -> None:
    """Submit parts, and write the identities of their jobs. submitit gets the path of a part, and nothing else."""
    import submitit

    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    executor.update_parameters(**parameters)
    jobs = []
    with executor.batch():
        jobs += [executor.submit(run_part, part, cluster) for part in parts]
    for part, job in zip(parts, jobs, strict=True):
        Part(Path(part)).submitted(cluster, job.job_id)


if __name__ == "__main__":
    try:
        submit(**json.load(sys.stdin))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
