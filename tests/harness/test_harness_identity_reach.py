"""Which code an identity covers: names are followed, and where the source does not tell, more is covered than less."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trilemma.harness import identity, source
from trilemma.harness.identity import Reach
from trilemma.harness.planning import sources

MODEL = """
import torch, trilemma
{imports}

class Base(trilemma.Model):
    \"\"\"A base.\"\"\"
    def sample(self, n, ctx):
        return draw(n)

class M(Base):
    \"\"\"A model.\"\"\"
    name = "m"
    def fit(self, train, ctx):
        {fit}

def draw(n):
    return n

def helper(model):
    return 1
"""

_numbers = itertools.count()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], Path]:
    """Write a package of its own name, `PKG` in its files."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(files: dict[str, str]) -> Path:
        name = f"reach_pkg_{next(_numbers)}"
        folder = tmp_path / name
        folder.mkdir()
        for file, text in {"__init__.py": "", **files}.items():
            (folder / file).write_text(text.replace("PKG", name))
        return folder

    return write


_read: dict[str, source.Module | None] = {}  # of the packages that tests write and edit


@pytest.fixture(autouse=True)
def own_source_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trilemma's own source is read once, and that of the tests' packages after each `forget`."""

    def module(name: str) -> source.Module | None:
        if not name.startswith("reach_pkg_"):
            return source.module(name)
        if name not in _read:
            _read[name] = source._module(name)
        return _read[name]

    monkeypatch.setattr(identity, "module", module)


def forget() -> None:
    """Read the packages of the tests anew from now on."""
    _read.clear()
    sources.forget()


def hashes(folder: Path) -> tuple[str, str]:
    """Training and evaluation hash of `model.M`."""
    forget()
    cls = importlib.import_module(f"{folder.name}.model").M
    return sources.training_source(cls), sources.evaluation_source(cls, None)


def changes(folder: Path, file: str, old: str, new: str) -> tuple[bool, bool]:
    """Whether an edit changes the training and the evaluation hash."""
    before, text = hashes(folder), (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    after = hashes(folder)
    (folder / file).write_text(text)
    assert hashes(folder) == before
    return before[0] != after[0], before[1] != after[1]


def test_imports_are_followed_within_the_package_by_name(package: Callable[[dict[str, str]], Path]) -> None:
    folder = package(
        {
            "model.py": MODEL.format(
                imports="from . import shared\nfrom .deep import thing as it\nimport json",
                fit="self.x = shared.x + it() + len(json.dumps(1))",
            ),
            "shared.py": "x = 1\nunused = 2\n",
            "deep.py": "from PKG.deeper import y\ndef thing():\n    return y\ndef other():\n    return 0\n",
            "deeper.py": "y = 1\nz = 2\n",
        }
    )
    assert changes(folder, "shared.py", "x = 1", "x = 2") == (True, True)
    assert changes(folder, "deeper.py", "y = 1", "y = 2") == (True, True)
    assert changes(folder, "shared.py", "unused = 2", "unused = 3") == (False, False)
    assert changes(folder, "deep.py", "return 0", "return 1") == (False, False)
    assert changes(folder, "deeper.py", "z = 2", "z = 3") == (False, False)


def test_two_modules_may_import_a_name_from_each_other(package: Callable[[dict[str, str]], Path]) -> None:
    lazy = "def __getattr__(name):\n    return 1\nif False:\n    from .{other} import y\n"
    folder = package(
        {
            "model.py": MODEL.format(imports="from .one import y", fit="self.x = y"),
            "one.py": lazy.format(other="two"),
            "two.py": lazy.format(other="one"),
        }
    )
    assert changes(folder, "model.py", "self.x = y", "self.x = 2 * y") == (True, True)


@pytest.mark.parametrize(
    ("imports", "fit"),
    [
        ("import PKG.nets", "self.x = PKG.nets.used()"),
        ("import PKG.nets, PKG.model", "self.x = PKG.nets.used()"),
        ("import PKG.nets as n", "self.x = n.used()"),
        ("import PKG.nets as n", "m = n\n        self.x = m.used()"),
        ("import PKG.nets", "m = PKG.nets\n        self.x = m.used()"),
        ("", "import PKG.nets\n        self.x = PKG.nets.used()"),
        ("", "import PKG.nets as n\n        m = n\n        self.x = m.used()"),
        ("", "from PKG import nets as n\n        m = n\n        self.x = m.used()"),
    ],
)
def test_a_module_is_followed_under_its_dotted_name(
    package: Callable[[dict[str, str]], Path], imports: str, fit: str
) -> None:
    folder = package({"model.py": MODEL.format(imports=imports, fit=fit), "nets.py": "def used():\n    return 1\n"})
    assert changes(folder, "nets.py", "return 1", "return 2") == (True, True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# why\n", "# whatever\n"),
        ('"""A model."""', '"""Another text."""'),
        ('description="a number"', 'description="a figure"'),
        ("def fit(self, train, ctx):", "def fit(self, train: object, ctx: object) -> None:"),
        ("self.x = 1 + 2", "self.x = (1\n            + 2)"),
    ],
    ids=["comment", "docstring", "description", "annotations", "layout"],
)
def test_what_is_no_code_does_not_count(package: Callable[[dict[str, str]], Path], old: str, new: str) -> None:
    text = MODEL.format(imports="from pydantic import Field", fit="# why\n        self.x = 1 + 2")
    config = '    class Config(trilemma.Config):\n        n: int = Field(1, description="a number")\n    name = "m"'
    folder = package({"model.py": text.replace('    name = "m"', config)})
    assert changes(folder, "model.py", old, new) == (False, False)
    assert changes(folder, "model.py", "Field(1,", "Field(2,") == (True, True)


def test_sampling_is_no_part_of_training_unless_training_samples(package: Callable[[dict[str, str]], Path]) -> None:
    apart = package({"model.py": MODEL.format(imports="", fit="self.x = 1")})
    assert changes(apart, "model.py", "return n", "return -n") == (False, True)
    uses = package({"model.py": MODEL.format(imports="", fit="self.x = self.sample(3, ctx)")})
    assert changes(uses, "model.py", "return n", "return -n") == (True, True)
    others = package({"model.py": MODEL.format(imports="", fit="self.x = self.flow.sample(3)")})
    assert changes(others, "model.py", "return n", "return -n") == (False, True)


@pytest.mark.parametrize(
    "fit",
    [
        "self.x = helper(self)",
        "self.x = [self][0].sample(1, ctx)",
        "self.x = getattr(self, 'sam' + 'ple')(1, ctx)",
        "self.x = getattr(self, 'sample')(1, ctx)",
        "self.x = super().sample(1, ctx)",
        "self.x = Base.sample(self, 1, ctx)",
        "eval('self.sample(1, ctx)')",
        "import importlib; importlib.import_module('PKG.model')",
        "model = self; self.x = model.sample(1, ctx)",
    ],
)
def test_what_cannot_be_known_counts_as_training(package: Callable[[dict[str, str]], Path], fit: str) -> None:
    text = MODEL.replace("return 1\n", "return model.sample(1, None)\n").format(imports="", fit=fit)
    assert changes(package({"model.py": text}), "model.py", "return n", "return -n") == (True, True)


HIDDEN = {
    "star import": ("from .deep import *", "thing()", "def thing():\n    return 1\n"),
    "module as a value": ("from . import deep", "list(map(str, [deep]))", "def thing():\n    return 1\n"),
    "import in a function": ("", "__name__; from .deep import thing; thing()", "def thing():\n    return 1\n"),
    "conditional definition": ("from .deep import thing", "thing", "if __name__ != '':\n    thing = 1\n"),
    "definition in a try": ("from .deep import x", "x", "try:\n    import none_such\nexcept ImportError:\n    x = 1\n"),
    "statement with effects": ("from .deep import other", "other", "other = 2\n[].append(1)\n"),
    "method": ("from .deep import K", "K().run()", "class K:\n    def run(self):\n        return 1\n"),
    "hook of an outside base": (
        "from .deep import K",
        "K()()",
        "import torch\nclass K(torch.nn.Module):\n    def forward(self):\n        return 1\n",
    ),
    "decorated method": (
        "from .deep import K",
        "K()",
        "from functools import lru_cache\nclass K:\n    @lru_cache\n    def run(self):\n        return 1\n",
    ),
    "class attribute": ("from .deep import K", "K()", "class K:\n    size = 1\n"),
    "base": ("from .deep import K", "K()", "class B:\n    def __init__(self):\n        self.x = 1\nclass K(B): ...\n"),
}


@pytest.mark.parametrize(("imports", "value", "module"), HIDDEN.values(), ids=HIDDEN)
def test_definitions_are_found_wherever_they_hide(
    package: Callable[[dict[str, str]], Path], imports: str, value: str, module: str
) -> None:
    folder = package({"model.py": MODEL.format(imports=imports, fit=f"self.x = {value}"), "deep.py": module})
    assert changes(folder, "deep.py", "1", "7")[0]


def test_a_method_that_nothing_mentions_does_not_count(package: Callable[[dict[str, str]], Path]) -> None:
    deep = "class K:\n    def run(self):\n        return 1\n    def unmentioned(self):\n        return 3\n"
    folder = package({"model.py": MODEL.format(imports="from .deep import K", fit="K().run()"), "deep.py": deep})
    assert changes(folder, "deep.py", "return 3", "return 4") == (False, False)


def test_one_model_of_a_file_leaves_the_other_alone(package: Callable[[dict[str, str]], Path]) -> None:
    other = '\nclass N(Base):\n    """Another."""\n    name = "n"\n    def fit(self, train, ctx):\n        self.y = 5\n'
    folder = package({"model.py": MODEL.format(imports="", fit="self.x = 1") + other})
    assert changes(folder, "model.py", "self.y = 5", "self.y = 6") == (False, False)


def test_samplers_in_a_class_body_are_no_training_unless_fit_uses_them(
    package: Callable[[dict[str, str]], Path],
) -> None:
    sampler = '\nclass S(trilemma.Sampler):\n    """S."""\n    name = "s"\n    def draw(self):\n        return 11\n'
    body = MODEL.replace('    name = "m"', '    name = "m"\n    samplers = (S,)').replace(
        "\nclass Base", sampler + "\nclass Base"
    )
    plain = package({"model.py": body.format(imports="", fit="self.x = 1")})
    assert changes(plain, "model.py", "return 11", "return 12") == (False, False)  # the sampler setting's own identity
    cls = importlib.import_module(f"{plain.name}.model")
    forget()
    before = sources.evaluation_source(cls.M, cls.S)
    (plain / "model.py").write_text((plain / "model.py").read_text().replace("return 11", "return 12"))
    forget()
    assert sources.evaluation_source(cls.M, cls.S) != before
    used = package({"model.py": body.format(imports="", fit="self.x = self.samplers[0]().draw()")})
    assert changes(used, "model.py", "return 11", "return 12") == (True, True)


def test_a_class_without_a_file_has_a_hash_all_the_same() -> None:
    made = type("Made", (), {"__module__": "nowhere_at_all"})
    assert len(Reach({"nowhere_at_all"}).add(made).hash()) == 16


def test_the_roots_of_both_stages_exist() -> None:
    for where in (*sources.TRAINING, *sources.EVALUATION):
        home, _, name = where.partition(":")
        importlib.import_module(home)
        assert hasattr(sys.modules[home], name), where
