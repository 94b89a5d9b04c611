"""The cluster: it submits parts as jobs, knows the states of jobs, and cancels them. submitit does the talking."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from ...errors import TrilemmaError
from .parts import JOBS, Part

ENDED = "ended"
LISTS = ("setup", "teardown", "srun_args")  # options of submitit that may be given several times
ARRAY = 1000  # jobs in one array, the usual limit of Slurm
AT_ONCE = 200  # jobs in one question to Slurm
_SQUEUE = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T"]
_SACCT = ["sacct", "--noheader", "--parsable2", "--format=JobID,State"]
_WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
_ALIVE = {"RUNNING", "COMPLETING", "CONFIGURING", "RESIZING", "STAGE_OUT", "SIGNALING", "STOPPED", "SUSPENDED"}


@dataclass(frozen=True)
class State:
    """The state of a job: `pending`, `running` or `ended`, and as what, in the word of the cluster."""

    state: str
    word: str = ""


def parse_options(options: Iterable[str]) -> dict[str, Any]:
    """Read `--slurm KEY=VALUE`. A key without a value is a flag. Raises TrilemmaError."""
    found: dict[str, Any] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals or not key.strip().isidentifier():
            raise TrilemmaError(f"--slurm {option}: expected KEY=VALUE, such as partition=gpu")
        if key in LISTS:
            found.setdefault(key, []).append(text)
        else:
            found[key] = True if text == "" else _value(text)
    return found


def _value(text: str) -> Any:
    with contextlib.suppress(ValueError):
        value = json.loads(text)
        if isinstance(value, bool | int | float | dict):
            return value
    return text


class Cluster:
    """A cluster with Slurm, or, with the option `cluster=local`, processes on this machine.

    `folder` is for the files of submitit. Raises TrilemmaError if there is no submitit, or no Slurm.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        self.options = dict(options)
        self.name: str = self.options.pop("cluster", "slurm")
        self.folder = folder.resolve()
        if importlib.util.find_spec("submitit") is None:
            raise TrilemmaError("the executor slurm needs submitit: pip install 'trilemma[slurm]'")
        if self.name not in ("slurm", "local"):
            raise TrilemmaError(f"there is no cluster '{self.name}'; use slurm or local")
        if self.name == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
            raise TrilemmaError(
                "there is no Slurm here (no sbatch and srun): start on a login node of the cluster, or try the same on "
                "this machine with --slurm cluster=local"
            )

    def submit(self, parts: Sequence[Part], at_once: int, needs: Mapping[str, Any]) -> None:
        """Submit parts as one array, of which `at_once` jobs run at a time. `needs` are parameters of submitit.

        Raises TrilemmaError with what the cluster says if it refuses them.
        """
        own = {f"slurm_{key}": value for key, value in self.options.items()}
        parameters = {"name": "trilemma", "stderr_to_stdout": True, "slurm_array_parallelism": at_once, **needs, **own}
        request = {
            "folder": str(self.folder),
            "cluster": self.name,
            "parameters": parameters,
            "parts": [str(part.folder) for part in parts],
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "submit.log"
        with self._submitting() as lock, log.open("w+") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "trilemma.harness.execution.slurm.submit"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[lock.fileno()],
                start_new_session=True,
            )
            process.communicate(json.dumps(request).encode())
        if process.returncode or any(part.job is None for part in parts):
            said = re.split(r"^\w+Error: ", log.read_text(errors="replace"), flags=re.MULTILINE)[-1].strip()
            why = " ".join(said.splitlines()[:2]) or "the process that submits ended"
            raise TrilemmaError(f"the jobs could not be submitted: {why[:1500]}")

    def wait_for_submission(self) -> None:
        """Wait until no process of an earlier launcher submits any more."""
        if self.folder.is_dir():
            with self._submitting():
                pass

    @contextlib.contextmanager
    def _submitting(self) -> Iterator[IO[str]]:
        """Hold the lock of submissions. The process that submits holds it too, also if the launcher ends."""
        with (self.folder / "submit.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock

    def states(self, parts: Iterable[Part]) -> dict[Part, State]:
        """The states of the jobs of parts. One that the cluster does not tell now is left out."""
        found: dict[Part, State] = {}
        asked: dict[str, Part] = {}
        for part in parts:
            job = part.job
            if job is None:
                found[part] = State(ENDED, "not submitted")
            elif job["cluster"] == "local":
                found[part] = self._local_state(job["id"])
            else:
                asked[job["id"]] = part
        return found | {asked[id]: state for id, state in self._slurm_states(list(asked)).items()}

    def cancel(self, parts: Sequence[Part]) -> None:
        """Let the jobs stop: they keep what is finished."""
        jobs = [part.job for part in parts]
        for id in [job["id"] for job in jobs if job and job["cluster"] == "local"]:
            if (process := self._local_process(id)) is not None:
                with contextlib.suppress(psutil.Error):
                    process.terminate()
        if ids := [job["id"] for job in jobs if job and job["cluster"] == "slurm"]:
            for first in range(0, len(ids), AT_ONCE):
                _output(["scancel", *ids[first : first + AT_ONCE]])

    def log_tail(self, part: Part, lines: int = 20) -> str:
        """The last lines that the job printed."""
        try:
            text = self._files(part).read_bytes()[-16_384:].decode(errors="replace")
        except (OSError, TypeError):
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _files(self, part: Part) -> Path:
        from submitit.core.utils import JobPaths

        return JobPaths(self.folder, (part.job or {}).get("id"), 0).stdout

    # Processes on this machine: the id of a job is that of the process of submitit that watches it

    def _local_process(self, id: str) -> psutil.Process | None:
        try:
            process = psutil.Process(int(id))
            alive = process.status() != psutil.STATUS_ZOMBIE and "submitit.local._local" in process.cmdline()
            return process if alive and str(self.folder) in process.cmdline() else None
        except (psutil.Error, ValueError):
            return None

    def _local_state(self, id: str) -> State:
        if self._local_process(id) is not None:
            return State("running", "RUNNING")
        return State(ENDED, "FINISHED" if (self.folder / f"{id}_0_result.pkl").exists() else "INTERRUPTED")

    # Slurm

    def _slurm_states(self, ids: list[str]) -> dict[str, State]:
        """States from the queue, which also knows jobs that ended some minutes ago, and else from the accounting.

        The accounting of a cluster may be late, off, or told to forget.
        """
        found: dict[str, State] = {}
        for some in (ids[first : first + AT_ONCE] for first in range(0, len(ids), AT_ONCE)):
            listed = ",".join(some)
            code, said = _output(
                ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T", "--jobs", listed]
            )
            if code and "Invalid job id" not in said:
                continue  # it cannot be asked now
            words = _words(said)
            if gone := [id for id in some if id not in words]:
                words |= _words(_output([*_SACCT, "--jobs", ",".join(gone)])[1])
            found |= {id: self._slurm_state(id, words.get(id, "LOST")) for id in some}
        return found

    def _slurm_state(self, id: str, word: str) -> State:
        if word in _WAITING:
            return State("pending", word)
        if word in _ALIVE:
            return State("running", word)
        if word == "LOST" and (self.folder / f"{id}_0_result.pkl").exists():
            word = "COMPLETED"
        return State(ENDED, word)


def _words(said: str) -> dict[str, str]:
    """The states in lines such as `12_3|CANCELLED by 1000`, by the id of the job."""
    pairs = (line.split("|") for line in said.splitlines() if line.count("|") == 1)
    return {id.strip(): word.split()[0] for id, word in pairs if word.strip()}


def _output(command: list[str]) -> tuple[int, str]:
    """The exit code of a command of Slurm, and what it says. The code is 127 if it cannot run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return 127, str(error)
    return done.returncode, done.stdout + done.stderr


def jobs_folder(parts: Path) -> Path:
    """The folder for the files of submitit."""
    return parts / JOBS
