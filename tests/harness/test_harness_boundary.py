"""The boundary to plugins: whatever their code raises is their error, what it prints is no result, and Ctrl-C works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from trilemma.harness.boundary import PluginExitError, boundary, described
from trilemma.harness.cli import main
from trilemma.harness.errors import PluginError
from trilemma.harness.plugins import Registry

ENDINGS = ["SystemExit(0)", "SystemExit", "KeyboardInterrupt", "GeneratorExit('no')", "BaseException('no')"]
NOISE = "import os\nprint('printed')\nos.write(1, b'written\\n')\n"
MODEL = """
import trilemma
class Theirs(trilemma.Model):
    "Theirs."
    name = "theirs"
    class Config(trilemma.Config): {validator}
    def fit(self, train, ctx): {fit}
    def sample(self, n, ctx): ...
@trilemma.hookimpl
def trilemma_models():
    {hook}
    return [Theirs]
"""
VALIDATOR = """
        way: str = trilemma.Field('a') if hasattr(trilemma, 'Field') else 'a'
        def model_post_init(self, context):
            if self.way == 'b': raise {ending}
"""


def model(validator: str = "...", fit: str = "...", hook: str = "...") -> str:
    return MODEL.format(validator=validator, fit=fit, hook=hook)


def trilemma(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trilemma", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_exception_that_ends_processes_is_an_error_of_the_plugin(ending: str) -> None:
    with pytest.raises(PluginExitError, match=ending.partition("(")[0]) as caught, boundary():
        exec(f"raise {ending}")
    assert isinstance(caught.value, PluginError)
    assert type(caught.value.__cause__).__name__ == ending.partition("(")[0]


def test_other_exceptions_and_values_pass() -> None:
    with pytest.raises(ValueError, match="mine"), boundary():
        raise ValueError("mine")
    with boundary():
        value = 3
    assert value == 3


def test_a_call_that_ends_the_process_is_an_error_of_the_plugin(tmp_path: Path) -> None:
    kept = []

    def ends() -> None:
        from os import _exit

        kept.append(_exit)
        try:
            _exit(0)
        except Exception:  # a plugin that catches all errors goes on with none of this
            (tmp_path / "went on").touch()

    with pytest.raises(PluginExitError, match=r"^os\._exit\(0\) \(code of a plugin must not end"), boundary():
        ends()
    assert not (tmp_path / "went on").exists()
    assert os._exit not in kept
    with boundary():
        child = os.fork()
        if child == 0:
            with boundary():
                pass
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    if (child := os.fork()) == 0:
        kept[0](8)  # what the plugin has kept works when it is called later
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 8


def test_the_working_directory_stays(tmp_path: Path) -> None:
    before = os.getcwd()
    with boundary(), boundary():
        os.chdir(tmp_path)
    assert os.getcwd() == before


@pytest.fixture
def _ctrl_c_counts() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also if the tests run in the background, where a shell makes it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_counts")
def test_ctrl_c_of_the_user_interrupts_also_if_the_plugin_catches_it() -> None:
    def press() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(10**8):
            pass

    with pytest.raises(KeyboardInterrupt), boundary():
        press()
    with pytest.raises(KeyboardInterrupt), boundary(), boundary():
        press()

    def catch_it() -> None:
        try:
            press()
        except KeyboardInterrupt:
            sys.exit(0)

    with pytest.raises(KeyboardInterrupt), boundary():
        catch_it()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_ctrl_c_around_the_boundary_is_called_and_kept() -> None:
    pressed = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        with boundary():
            os.kill(os.getpid(), signal.SIGINT)
        with boundary():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a plugin that takes Ctrl-C away
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed == [signal.SIGINT, signal.SIGINT]


def test_in_another_thread_an_interrupt_is_the_plugins_own() -> None:
    found: list[BaseException] = []

    def work() -> None:
        try:
            with boundary():
                raise KeyboardInterrupt
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [type(error) for error in found] == [PluginExitError]


def test_what_is_printed_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    with boundary():
        print("inside")
        os.write(1, b"written\n")
        with boundary():
            subprocess.run(["echo", "by a child"], check=True)
    print("after")
    shown = capfd.readouterr()
    assert shown.out == "before\nafter\n"
    assert {"inside", "written", "by a child"} <= set(shown.err.split("\n"))


def test_an_error_whose_text_cannot_be_read_has_its_type() -> None:
    class SilentError(Exception):
        def __str__(self) -> str:
            raise SystemExit(0)

    assert described(SilentError()) == "SilentError"
    assert len(described(ValueError("x" * 10**6))) < 5_000


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("where", ["import", "hook", "getattr"])
def test_an_ending_in_a_file_is_reported_with_the_file(where: str, ending: str, tmp_path: Path) -> None:
    sources = {
        "import": f"raise {ending}",
        "hook": model(hook=f"raise {ending}"),
        "getattr": f"def __getattr__(name): raise {ending}",
    }
    file = tmp_path / "theirs.py"
    file.write_text(NOISE + sources[where])
    try:
        registry = Registry([file])
    except PluginError as error:
        said = str(error)
    else:
        registry.load_everything()
        said = registry.records[-1].error
    assert ending.partition("(")[0] in said
    assert "theirs" in said or where != "import"


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_ending_in_an_observer_is_reported(ending: str, tmp_path: Path) -> None:
    file = tmp_path / "theirs.py"
    file.write_text(f"import trilemma\n@trilemma.hookimpl\ndef trilemma_cell_started(cell):\n    raise {ending}\n")
    errors = [seen.error for seen in Registry([file]).observe("cell_started", path=None, cell={}) if seen.error]
    assert len(errors) == 1
    assert ending.partition("(")[0] in errors[0]


@pytest.mark.parametrize("ending", ["raise SystemExit(0)", "raise KeyboardInterrupt", "os._exit(0)"])
def test_commands_survive_a_plugin_that_ends_the_process(ending: str, tmp_path: Path) -> None:
    file = tmp_path / "theirs.py"
    file.write_text(f"{NOISE}{ending}")
    listed = trilemma("list", "models", "--json", "--plugin", file)
    assert listed.returncode == 2
    assert listed.stdout == ""
    assert ending.removeprefix("raise ").partition("(")[0] in listed.stderr
    assert "theirs.py:4" in listed.stderr


def test_a_crash_of_compiled_code_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "theirs.py"
    file.write_text("import ctypes\nctypes.string_at(0)\n")
    listed = trilemma("list", "models", "--plugin", file)
    assert listed.returncode == -signal.SIGSEGV
    assert f'File "{file}", line 2' in listed.stderr


def test_json_is_pure_although_plugins_print(tmp_path: Path) -> None:
    file = tmp_path / "theirs.py"
    file.write_text(NOISE + model(fit="raise SystemExit(0)", hook=NOISE.replace("\n", "; ").strip("; ")))
    listed = trilemma("list", "models", "--json", "--plugin", file)
    assert "theirs" in {row["name"] for row in json.loads(listed.stdout)}
    assert listed.stderr.count("printed") == listed.stderr.count("written") == 2
    checked = trilemma("check", "theirs", "--json", "--plugin", file)
    assert checked.returncode == 1, checked.stderr
    rows = json.loads(checked.stdout)
    assert any("SystemExit" in row["message"] for row in rows if row["status"] == "failed")


def test_plugins_lists_a_hook_of_commands_that_ends_the_process(tmp_path: Path) -> None:
    file = tmp_path / "theirs.py"
    file.write_text("import trilemma\n@trilemma.hookimpl\ndef trilemma_commands(group):\n    raise SystemExit(0)\n")
    rows = json.loads(trilemma("plugins", "--json", "--plugin", file).stdout)
    assert "trilemma_commands: SystemExit: 0" in rows[-1]["error"]


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("raise SystemExit(7)", 7, ""),
        ("raise GeneratorExit('no')", 2, "command 'theirs': GeneratorExit: no"),
        ("raise KeyboardInterrupt", 2, "command 'theirs': KeyboardInterrupt"),
        ("raise ValueError('a\\x1b[31m')", 1, "ValueError: a\\x1b[31m"),
        ("print('shown')", 0, ""),
    ],
)
def test_a_command_of_a_plugin_ends_by_its_exit_code_only(
    body: str, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = click.Command("theirs", callback=lambda: exec(body))
    monkeypatch.setitem(vars(main), "_third_party", click.Group(commands={"theirs": command}))
    ended = CliRunner().invoke(main, ["theirs"])
    assert ended.exit_code == code
    assert said in ended.stderr
    assert ended.stdout == ("shown\n" if code == 0 else "")


@pytest.mark.parametrize("ending", ["SystemExit(0)", "KeyboardInterrupt", "KeyError('way')"])
def test_an_ending_in_options_is_a_mistake_of_the_suite(ending: str, tmp_path: Path) -> None:
    file = tmp_path / "theirs.py"
    file.write_text(model(validator=VALIDATOR.format(ending=ending)))
    suite = tmp_path / "suite.toml"
    suite.write_text(
        'name = "s"\nbudget = { steps = 1 }\n[[datasets]]\nname = "ring8"\n'
        '[[models]]\nname = "theirs"\nconfig = { way = ["a", "b"] }\n'
    )
    ran = trilemma("run", suite, "--plugin", file, "--out", tmp_path / "out", "--json")
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert f"{suite}:7: models[0].config: the code of the plugin raised {ending.partition('(')[0]}" in ran.stderr
