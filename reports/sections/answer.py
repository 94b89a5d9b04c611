"""The first section of the report: what may be concluded on each dataset, beside quality against cost."""

from __future__ import annotations

import textwrap
from typing import Any, ClassVar

from markupsafe import Markup
from matplotlib.figure import Figure

import trilemma

from .. import figures, html, markdown, numbers
from ..fronts import corners, vega
from ..fronts.front import Picture, picture
from ..kit import Digest, digest
from ..plots import key, quality_against_cost
from .overview import brief

PAGE, CARD, SMALL = (8.0, 4.3), (8.0, 4.2), (4.4, 1.9)
"""Sizes in inches. The card has 1200 x 630 pixels, which is what pages that show links expect of a picture."""
ACROSS = 90
"""Characters of a line of the title that fit on the card."""
NOTHING = "Nothing was measured on this dataset: see the failures."


class Answer(trilemma.ReportSection):
    """The answers: for each dataset, budget and device a card of sentences and a picture of quality against cost."""

    name: ClassVar[str] = "answer"
    order: ClassVar[int] = 10

    def render(self, view: trilemma.RunView) -> trilemma.Section | None:
        """Render the cards. Returns None for a run without datasets."""
        run = digest(view)
        if not run.datasets:
            return None
        found = trilemma.answers(run.summary, run.verdicts)
        cards: list[dict[str, Any]] = []
        files: dict[str, bytes] = {}
        parts = [markdown.escape(facts := brief(run, view))]
        for dataset in run.datasets:
            own = [answer for answer in found if answer.dataset == dataset]
            for answer in own:
                title = run.title(dataset) + (f" ({answer.where})" if len(own) > 1 else "")
                card = _card(run, answer, title, len(cards) + 1)
                cards.append(card)
                parts += [f"### {markdown.escape(title)}", _sentences(answer)]
                if card["front"]:
                    name = f"front-{len(cards)}.png" if files else "card.png"
                    files[name] = _shared(card, answer)
                    parts.append(f"![{markdown.escape(card['alt'])}](figures/{name})")
            if not own:
                cards.append({"title": run.title(dataset), "lines": (), "corners": "", "front": ""})
                parts += [f"### {markdown.escape(run.title(dataset))}", NOTHING]
        library = vega.library() if any(card["front"] for card in cards) else ""
        return trilemma.Section(
            title="At a glance",
            html=html.render(
                "answer.html.j2", cards=cards, facts=facts, library=library, sentence=sentence, nothing=NOTHING
            ),
            markdown="\n\n".join(parts),
            figures=files,
        )


def sentence(line: Any) -> Markup:
    """The sentence of a line as HTML, in which each number shows its interval when it is pointed at or focused."""
    parts = [
        part
        if isinstance(part, str)
        else Markup('<span class="answer-number" tabindex="0">{}<span>{}</span></span>').format(
            part.text, part.about or part.interval
        )
        if part.about or part.interval
        else part.text
        for part in line.parts
    ]
    return Markup("").join(parts)


def _sentences(answer: trilemma.Answer) -> str:
    return "\n".join(f"- **{markdown.escape(line.heading)}**: {markdown.escape(line.text)}" for line in answer.lines)


def _card(run: Digest, answer: trilemma.Answer, title: str, number: int) -> dict[str, Any]:
    made = picture(run, answer.dataset, answer.budget, answer.device, answer.trained_on)
    card: dict[str, Any] = {"title": title, "lines": answer.lines, "corners": "", "front": ""}
    if made is None:
        return card
    cost, quality = made.costs[0], made.qualities[0]
    alt = f"{quality.title} against {cost.title} on {title}, one curve for each of {', '.join(_labels(made))}."
    draw = quality_against_cost(made.curves(cost, quality), made.drawn(cost, quality), cost.title, quality.title)
    groups = dict(run.summary.drop_duplicates("metric").set_index("metric")["group"])
    three = corners.corners(made, groups)
    if three is not None:
        card["corners"] = figures.svg(corners.drawn(three), SMALL, f"{corners.alternative(three)} {title}")
        card["corners_say"] = corners.SAYS
    return card | {
        "id": f"front-{number}",
        "alt": alt,
        "picture": made,
        "front": figures.svg(draw, PAGE, alt),
        "front_says": _says(made),
        "costs": [each.title for each in made.costs],
        "qualities": [each.title for each in made.qualities],
        "legend": _legend(run, made),
        "data": vega.inlined(vega.payload(made)),
    }


def _labels(made: Picture) -> list[str]:
    return list(dict.fromkeys(point.model for point in made.points))


def _legend(run: Digest, made: Picture) -> list[tuple[str, list[tuple[int, str, Markup]]]]:
    """The models by family, each with its number in the picture and its key."""
    families = dict(run.rows.drop_duplicates("label").set_index("label")["family"])
    groups: dict[str, list[tuple[int, str, Markup]]] = {}
    for i, label, curve in vega.line_keys(made):
        groups.setdefault(str(families.get(label, "")), []).append((i, label, key(curve)))
    return list(groups.items())


def _says(made: Picture) -> str:
    """What to see in the picture."""
    quality = made.qualities[0]
    low, high, _ = quality.limits
    out = [f"{name} {numbers.plain(value)}" for name, value in quality.scale.controls.items() if not low < value < high]
    parts = [
        "A line is a trained model, a mark one sampler setting; color is the family, shape the model. The steps are "
        "the front: no setting is better in both. Its band and the bars are 95 % intervals. Hollow marks are off it."
    ]
    parts += ["In the gray band samples cannot be told from data."] if quality.scale.floor else []
    parts += [f"Controls outside the axis: {', '.join(out)}."] if out else []
    return " ".join(parts)


def _shared(card: dict[str, Any], answer: trilemma.Answer) -> bytes:
    """The picture with its title and the first sentences, for Markdown and for links: 1200 x 630 pixels."""
    made: Picture = card["picture"]
    cost, quality = made.costs[0], made.qualities[0]
    scale = made.drawn(cost, quality)
    curves = sorted(made.curves(cost, quality), key=lambda curve: curve.filled is None or not curve.filled.any())
    draw = quality_against_cost(curves, scale, cost.title, quality.title, legend=True, rows=4)  # the front comes first
    said = [line for line in answer.lines if not line.fine][:1]

    def whole(figure: Figure) -> None:
        draw(figure)
        lines = [card["title"], *(f"{line.heading}: {_plain(line)}" for line in said)]
        lines = [text if len(text) <= ACROSS else textwrap.wrap(text, ACROSS - 2)[0] + " …" for text in lines]
        figure.suptitle("\n".join(lines), fontsize=11, x=0.02, ha="left")

    return figures.png(whole, CARD)


def _plain(line: Any) -> str:
    return "".join(part if isinstance(part, str) else part.text for part in line.parts)
