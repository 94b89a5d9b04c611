"""What to cite for a run: the papers of its models and samplers, and the sources of its datasets, as BibTeX."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..plugins import Registry
from ..text import printable
from .view import RunView

_START = re.compile(r"@(\w+)\s*\{\s*([^\s,{}\"#%~\\@]+)\s*,")
_KEYWORDS = re.compile(r",\s*keywords\s*=\s*[{\"]([^{}\"]*)[}\"]", re.I)
_SOURCE = re.compile(r"(?P<author>[^;,]+?),? \(?(?P<year>\d{4})\)?(?:, (?P<title>.+))?")
_SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_"},
    **{"{": r"\textbraceleft{}", "}": r"\textbraceright{}", "\\": r"\textbackslash{}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "@": "(at)", '"': "''"},
}


@dataclass(frozen=True)
class Citations:
    """BibTeX entries by their keys, what each of them is about, and what nothing is known of."""

    entries: dict[str, str]
    about: dict[str, list[str]]
    """For each key, such as `models/realnvp` or `datasets/digits`."""
    unknown: list[str]
    """The models without an entry, such as `models/mine`."""

    def bibtex(self) -> str:
        """The text of a `.bib` file."""
        parts = [f"{', '.join(self.about[key])}\n{text}" for key, text in self.entries.items()]
        if self.unknown:
            parts.append(f"No paper is known for {', '.join(self.unknown)}.")
        return "\n\n".join(parts) + "\n"


def citations(view: RunView) -> Citations:
    """The citations of a run: of its models and samplers by the hook `trilemma_papers`, of its datasets by their cards.

    Entries of installed plugins are found, also for a run made elsewhere. One that cannot be read is left out.
    """
    names = [("models", name) for name in _distinct(view.frame["model"])]
    names += [("samplers", name.split("(")[0].strip()) for name in _distinct(view.frame["sampler"])]
    known: dict[str, list[tuple[str, str]]] = {}
    for text in _papers():
        for key, entry, about in entries(text):
            for name in about:
                known.setdefault(name, []).append((key, entry))
    found = Citations({}, {}, [])
    for kind, name in dict.fromkeys(names):
        place = f"{kind}/{name}"
        for key, entry in known.get(place, ()):
            _add(found, key, entry, place)
        if kind == "models" and place not in known:
            found.unknown.append(place)
    for dataset, card in view.cards.items():
        name = str(card.get("name") or dataset)
        for number, entry in enumerate(_of_card(card), start=1):
            key = f"data-{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-') or 'set'}"
            _add(found, key if number == 1 else f"{key}-{number}", entry, f"datasets/{_plain(name)}")
    return found


def entries(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """The entries of a BibTeX text as `(key, entry, keywords)`. The entry is without its keywords.

    What is not an entry with balanced braces is skipped. Control characters are made visible.
    """
    text = printable(text)
    place = 0
    while start := _START.search(text, place):
        end = _end(text, start.start())
        if end is None:
            place = start.end()
            continue
        entry = text[start.start() : end]
        keywords = _KEYWORDS.search(entry)
        about = [word.strip() for word in keywords[1].split(",")] if keywords else []
        if start[1].lower() not in ("comment", "string", "preamble"):
            yield start[2], _KEYWORDS.sub("", entry), list(filter(None, about))
        place = end


def _end(text: str, start: int) -> int | None:
    """Where the entry ends that starts at a place of a text; None if its braces do not close."""
    depth = 0
    for place in range(text.index("{", start), len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place + 1
    return None


def _papers() -> Iterator[str]:
    for seen in Registry().observe("papers"):
        if isinstance(seen.value, str):
            yield seen.value


def _add(found: Citations, key: str, entry: str, about: str) -> None:
    """Add an entry. Another entry with the same key gets a key of its own."""
    free, number = key, 1
    while True:
        text = _START.sub(lambda start, free=free: f"@{start[1]}{{{free},", entry, count=1)  # type: ignore[misc]
        if found.entries.setdefault(free, text) == text:
            break
        number += 1
        free = f"{key}-{number}"
    names = found.about.setdefault(free, [])
    if about not in names:
        names.append(about)


def _of_card(card: dict[str, Any]) -> Iterator[str]:
    """Entries for what the card of a dataset cites, or else for the dataset itself if it has a source."""
    title, source, license = (str(card.get(key) or "") for key in ("title", "source", "license"))
    about = {"howpublished": source, "note": f"Data: {title}" + (f", license {license}" if license else "")}
    cited = [part.strip() for part in str(card.get("citation") or "").split(";") if part.strip()]
    for part in cited:
        fields: dict[str, str] = {"title": title, "key": title, "note": part}
        if match := _SOURCE.fullmatch(part):
            author = re.sub(r" et al\.?$", " and others", match["author"])
            fields = {"author": author, "year": match["year"], "title": match["title"] or title}
        yield _entry(fields | {key: text for key, text in about.items() if key not in fields})
    if not cited and source and source != "synthetic":
        yield _entry({"title": title, "key": title, **about})


def _entry(fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{_plain(text)}}}" for name, text in fields.items() if text]
    return "@misc{key,\n" + ",\n".join(lines) + ",\n}"


def _plain(text: str) -> str:
    """Text as a value of BibTeX: one line, in which nothing is a command and braces are balanced."""
    return "".join(_SPECIAL.get(character, character) for character in " ".join(printable(text).split()))


def _distinct(column: Any) -> list[str]:
    return [str(value) for value in dict.fromkeys(column) if isinstance(value, str) and value]
