"""`trilemma export`: tables for papers, files for other programs, citations, figures, and texts that are hostile."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

import trilemma
from trilemma.harness.analysis.citations import entries
from trilemma.reports.share import export, latex
from trilemma.reports.share.commands import export as command
from trilemma.reports.share.papers import Number, PaperTable, Row

MakeView = Callable[..., trilemma.RunView]
HOSTILE = "a & b \\input{/etc/passwd} $x$ #1 _{y} ~ ^ % \x1b[31m <script> \u202e 雪\N{SNOWMAN}"


def cells(line: str) -> list[str]:
    """The cells of a row of LaTeX."""
    return re.split(r"(?<!\\)&", line.removesuffix("\\\\"))


def commands(text: str) -> set[str]:
    return set(re.findall(r"\\([A-Za-z]+)", text))


ALLOWED = {
    *("usepackage", "begin", "end", "centering", "caption", "label", "toprule", "midrule", "bottomrule"),
    *("textbf", "pm", "textbackslash", "textasciitilde", "textasciicircum", "times", "cdot", "ldots"),
}


SMALL = ["spline", "realnvp(transforms=8)", "edm", "ddpm", "cold-diffusion", "gaussian"]


@pytest.fixture(scope="module")
def view(
    make_view: MakeView, make_frame: Callable[..., pd.DataFrame], tmp_path_factory: pytest.TempPathFactory
) -> trilemma.RunView:
    """A view of some models of the synthetic run, whose digest is made once."""
    frame = make_frame()
    frame = frame[frame["label"].isin(SMALL) & ~frame["metric"].isin(["latency_p50", "latency_p90", "peak_memory"])]
    digits = (frame["dataset_id"] == "digits") & ~frame["label"].isin(["spline", "gaussian"])
    return make_view(tmp_path_factory.mktemp("exported") / "run", frame[~digits])


@pytest.fixture(scope="module")
def hostile(make_view: MakeView, make_frame: Callable[..., pd.DataFrame], tmp_path_factory: Any) -> trilemma.RunView:
    """A view of a run of one model, whose texts are hostile."""
    frame = make_frame()
    frame = frame[(frame["label"] == "spline") & (frame["dataset_id"] == "ring8")].assign(label=HOSTILE, plugin="=1+1")
    made = make_view(tmp_path_factory.mktemp("hostile") / "run", frame)
    card = {"name": "x}{", "title": HOSTILE, "source": "http://x/}{%", "citation": f"Evil {HOSTILE}", "license": "@{"}
    return replace(made, cards={"ring8": card})


def test_latex_has_the_numbers_and_the_verdicts_of_the_run(view: trilemma.RunView) -> None:
    text = export.content(view, "latex").decode()
    assert commands(text) <= ALLOWED
    assert text.count("\\begin{table}") == text.count("\\end{table}") == 2
    block = text.split("\\begin{table}")[1]
    header = next(line for line in block.splitlines() if line.startswith("Model"))
    rows = [line for line in block.splitlines() if line.endswith("\\\\") and not line.startswith("Model")]
    assert {len(cells(line)) for line in [header, *rows]} == {len(cells(header))}
    quality = next(v for v in trilemma.verdicts(view.frame) if (v["dataset"], v["criterion"]) == ("ring8", "quality"))
    assert len(rows) >= len(quality["lines"])
    best = {(line["label"], line["sampler"]) for line in quality["best"]}
    bold = {tuple(cells(line)[i].strip() for i in (0, 1)) for line in rows if "\\textbf" in cells(line)[2]}
    assert bold == best
    edm = [cells(line)[1].strip() for line in rows if line.startswith("edm ")]
    assert edm[:2] == ["", "heun(steps=40)"], "what does not depend on the sampler stands first"


def test_texts_of_others_hold_no_command_in_latex(hostile: trilemma.RunView) -> None:
    text = export.content(hostile, "latex").decode()
    assert commands(text) <= ALLOWED
    assert "\\textbackslash{}input\\{/etc/passwd\\}" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    row = next(line for line in text.splitlines() if line.startswith("a \\&"))
    assert "雪?" in row
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert latex.escape("10⁻³ W₂²") == "10$^{-3}$ W$_{2}$$^{2}$"


NEEDS_NOTHING = {"pm", "times", "cdot", "infty", "alpha", "beta", "sigma", "mu", "circ"}
"""The commands of mathematics that need no package."""


def check_structure(text: str) -> int:
    """Checks all that LaTeX checks of the structure of such a file, and returns the number of rows.

    Environments and braces nest; a special character is escaped, or a separator of cells, or around mathematics; each
    row has as many cells as its tabular has columns; a paragraph does not end in an argument; and nothing that begins
    a row is an argument of the command before it.
    """
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    open_: list[str] = []
    columns, rows, after_row = 0, 0, False
    for number, line in enumerate(lines):
        if found := re.fullmatch(r"\\begin\{(\w+)\}(?:\{(\w+)\})?", line):
            open_.append(found[1])
            columns = len(found[2]) if found[2] else columns
            continue
        if found := re.fullmatch(r"\\end\{(\w+)\}", line):
            assert open_.pop() == found[1]
            continue
        assert line or not open_, "a paragraph ends in a table"
        plain = re.sub(r"\\[&%$#_{}]|\\,|\\\\$", "", line)
        for formula in re.findall(r"\$([^$]*)\$", plain):
            assert set(re.findall(r"\\([A-Za-z]+)", formula)) <= NEEDS_NOTHING, line
            assert formula.strip(), line
        plain = re.sub(r"\$[^$]*\$", "", plain)
        assert not re.search(r"[$%#^_~]", plain), line
        assert not re.search(r"\\(?![A-Za-z])", plain), line
        depth = 0
        for brace in re.findall(r"[{}]", plain):
            depth += 1 if brace == "{" else -1
            assert depth >= 0, line
        assert depth == 0, line
        if line.endswith("\\\\"):
            assert open_ == ["table", "tabular"], line
            assert len(cells(line)) == columns, line
            assert not line.startswith(("[", "*")), line
            rows, after_row = rows + 1, True
        else:
            assert "&" not in plain, line
            if line in ("\\toprule", "\\midrule", "\\bottomrule"):
                assert after_row or lines[number - 1].startswith("\\begin{tabular}"), line
    assert open_ == []
    return rows


def test_latex_has_the_structure_that_a_compiler_wants(view: trilemma.RunView, hostile: trilemma.RunView) -> None:
    assert check_structure(export.content(view, "latex").decode()) > 10
    assert check_structure(export.content(hostile, "latex").decode()) > 1
    for name in ("[1cm] a", "*", '"quoted"', "a\n\nb", "100 % of #1 & {x}_2^3 ~ \\\\"):
        row = Row(name, name, False, {0: Number("1.0", "0.1", True)})
        table = PaperTable("t", ("t",), name, [name, "NLL"], [row, replace(row, control=True)], [name])
        assert check_structure(latex.document([table], name)) == 3
        single = replace(row, sampler="")
        assert check_structure(latex.document([replace(table, rows=[single])], name)) == 2


def test_tables_and_citations_compile(view: trilemma.RunView, hostile: trilemma.RunView, tmp_path: Path) -> None:
    """With LaTeX and BibTeX themselves, where they are installed."""
    if not (shutil.which("pdflatex") and shutil.which("bibtex") and shutil.which("kpsewhich")):
        pytest.skip("pdflatex and bibtex are not installed")
    if not subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).stdout:
        pytest.skip("LaTeX has no booktabs")
    for name, run in (("view", view), ("hostile", hostile)):
        text = export.content(run, "latex").decode()
        assert ("lualatex" in text.split("\n\n")[0]) == ("雪" in text)
        (tmp_path / f"{name}.tex").write_text(text.replace("雪", "snow"))
    (tmp_path / "papers.bib").write_bytes(export.content(view, "bibtex"))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{view}\\input{hostile}"
        "\\nocite{*}\\bibliographystyle{plain}\\bibliography{papers}\\end{document}"
    )
    for line in (["pdflatex", "-halt-on-error", "-interaction=nonstopmode"], ["bibtex"]):
        done = subprocess.run([*line, "paper"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
        assert "Warning--" not in done.stdout


def test_bibtex_has_the_papers_of_models_samplers_and_data(view: trilemma.RunView) -> None:
    text = export.content(view, "bibtex").decode()
    found = {key: entry for key, entry, _ in entries(text)}
    assert "eprint = {1605.08803}" in found["dinh2017density"]
    assert "2206.00364" in found["karras2022elucidating"]
    assert "song2021denoising" in found, "of the sampler ddim"
    assert "author = {Alpaydin and Kaynak}" in found["data-digits"]
    assert "keywords" not in text
    assert "models/cold-diffusion" in text.rpartition("No paper is known for")[2]
    assert len(found) == len(set(found))


def test_what_a_card_says_is_inert_in_bibtex(hostile: trilemma.RunView) -> None:
    text = export.content(hostile, "bibtex").decode()
    found = [entry for key, entry, _ in entries(text) if key.startswith("data-")]
    assert len(found) == 1
    assert found[0].count("{") == found[0].count("}")
    assert "\\input" not in text
    assert "\x1b" not in text
    assert text.count("@") == len(list(entries(text))), "nothing else starts an entry"


def test_an_entry_that_does_not_close_is_skipped() -> None:
    text = "@misc{a, title={x}, keywords={models/a, samplers/b}}\n@article{b, title={y}\n@book{c, title = {z}}"
    assert [(key, about) for key, _, about in entries(text)] == [("a", ["models/a", "samplers/b"]), ("c", [])]


def test_files_for_other_programs_hold_every_number(view: trilemma.RunView, hostile: trilemma.RunView) -> None:
    csv = pd.read_csv(io.BytesIO(export.content(view, "csv")))
    values = view.frame["value"].to_numpy(float)
    assert csv["value"].to_numpy(float) == pytest.approx(values, nan_ok=True)
    whole = json.loads(export.content(view, "json"), parse_constant=lambda name: pytest.fail(name))
    assert len(whole["results"]) == len(view.frame)
    assert {v["criterion"] for v in whole["verdicts"]} >= {"quality", "likelihood:exact"}
    assert whole["datasets"]["digits"]["license"] == "CC-BY-4.0"
    assert "'=1+1" in export.content(hostile, "csv").decode()


def test_parquet_reads_back_the_same(view: trilemma.RunView) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    back = pd.read_parquet(io.BytesIO(export.content(view, "parquet")))
    assert list(back.columns) == list(view.frame.columns)
    assert back["value"].to_numpy(float) == pytest.approx(view.frame["value"].to_numpy(float), nan_ok=True)
    assert back["label"].tolist() == view.frame["label"].tolist()


def test_parquet_without_pyarrow_says_what_to_install(view: trilemma.RunView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(trilemma.TrilemmaError, match=r"trilemma\[data\]"):
        export.content(view, "parquet")
    assert "parquet" not in export.available()


@pytest.mark.parametrize(("form", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_figures_are_files_of_their_own_and_always_the_same(
    make_view: MakeView, make_frame: Callable[..., pd.DataFrame], tmp_path: Path, form: str, start: bytes
) -> None:
    frame = make_frame()
    frame = frame[frame["label"].isin(["spline", "realnvp(transforms=8)"]) & (frame["dataset_id"] == "ring8")]
    small = make_view(tmp_path / "run", frame)
    found = dict(export.pictures(small, form))
    assert set(found) == {f"curves-1-nfe.{form}", f"curves-1-seconds-per-1k.{form}"}
    assert all(content.startswith(start) for content in found.values())
    assert found == dict(export.pictures(small, form))
    assert b"var(--" not in b"".join(found.values())


def test_files_are_written_only_into_directories_of_trilemma(view: trilemma.RunView, tmp_path: Path) -> None:
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "tables.tex").write_text("mine")
    with pytest.raises(trilemma.StoreError, match="was not made by trilemma"):
        export.export(view, ["latex"], foreign)
    assert [file.name for file in foreign.iterdir()] == ["tables.tex"]
    assert (foreign / "tables.tex").read_text() == "mine"
    out = tmp_path / "out"
    for _ in range(2):
        written = export.export(view, ["latex", "bibtex"], out)
        assert written == [out / "tables.tex", out / "references.bib"]
    assert sorted(file.name for file in out.iterdir()) == ["references.bib", "tables.tex", "trilemma.json"]


def test_the_command_refuses_what_it_cannot_print(tmp_path: Path) -> None:
    run = CliRunner().invoke
    for wrong in ([], ["--format", "pdf"], ["--format", "latex,csv"]):
        result = run(command, [str(tmp_path), *wrong])
        assert result.exit_code == 2
        assert "--out FOLDER" in result.output
    result = run(command, [str(tmp_path), "--format", "doc"])
    assert "there is no format 'doc'" in result.output
