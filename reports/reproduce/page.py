"""One page for a paper: each of its parts as it comes out here, beside what was printed and what differs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from bench.errors import BenchError, MissingError
from bench.store.files import write_text
from bench.store.runs import Run
from reports.page.drawings import image
from reports.page.elements import grid, text
from reports.page.page import document
from reports.plots import save, to_svg
from reports.reproduce.drawing import MapPanel, draw_map, draw_preference
from reports.reproduce.spec import Paper, Part, PrintedTable
from reports.table.build import build
from reports.table.cells import Table, clean
from reports.table.forms.html import to_html
from reports.table.forms.markdown import escape, to_markdown
from reports.table.layout import Layout, arrange
from reports.table.sheet import Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_READ = (
    "Published figures were read from transcriptions of the paper that agree, not from its own file: check them there. "
    "What one transcription alone has is marked so."
)
_MINUTE = 60


@dataclass
class Made:
    """A part as it comes out here.

    Attributes:
        part: What was to be made.
        sheets: A table for each suite that has measured it.
        figures: What was drawn, by the name of its file.
        lacking: What could not be made, and why.
        seconds: Of all runs behind it that know theirs; runs are shared by parts.
        is_timed: Whether all of them do: one that was resumed amid a phase does not.
    """

    part: Part
    sheets: list[Sheet] = field(default_factory=list)
    figures: "dict[str, Figure]" = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)
    seconds: float = 0.0
    is_timed: bool = True


@dataclass(frozen=True)
class Behind:
    """What a part is made from.

    Attributes:
        runs: Finished runs of each suite.
        failed: What was not measured, and why.
        maps: Where each system puts sentences, by the suite; none where nobody mapped them.
    """

    runs: Mapping[str, Sequence[Run]]
    failed: Sequence[str] = ()
    maps: Mapping[str, Sequence[MapPanel]] = field(default_factory=dict)


def make(part: Part, behind: Behind) -> Made:
    """Lay out a part from the records; what its runs do not have is said in it."""
    made = Made(part, lacking=list(behind.failed))
    for suite, runs in behind.runs.items():
        if not runs:
            made.lacking.append(f"{suite}: no run has finished")
            continue
        made.seconds += sum(run.seconds or 0.0 for run in runs)
        made.is_timed &= all(run.seconds is not None for run in runs)
        for add in (_add_table, _add_drawing):
            try:
                add(made, suite, behind)
            except BenchError as error:
                made.lacking.append(f"{suite}: {error.what}")
    return made


def _add_table(made: Made, suite: str, behind: Behind) -> None:
    if made.part.columns:
        layout = _layout(made.part)
        made.sheets.append(arrange(_table(made.part, behind.runs[suite]), layout))


def _layout(part: Part) -> Layout:
    return Layout(name=part.name, description=part.title, columns=part.columns)


def _table(part: Part, runs: Sequence[Run]) -> Table:
    return build(runs, wanted=_layout(part).wants if part.columns else lambda _: False)


def _add_drawing(made: Made, suite: str, behind: Behind) -> None:
    if made.part.drawing is None:
        return
    table = _table(made.part, behind.runs[suite])
    stem = f"{made.part.name}-{suite}".lower().replace(" ", "-")
    if made.part.drawing == "preference":
        made.figures[f"{stem}.svg"] = draw_preference(table)
    elif made.part.drawing == "map":
        if not behind.maps.get(suite):
            raise MissingError("the sentences were not mapped")
        made.figures[f"{stem}.svg"] = draw_map(behind.maps[suite], table)


def replaced(paper: Paper, scale: str, parts: Sequence[Part], folder: Path) -> str | None:
    """What is lost with a page that lies in a folder, as the end of a sentence about it; None where nothing is."""
    try:
        page = (folder / "page.md").read_text(encoding="utf-8")
    except (OSError, ValueError):  # none, or none of ours
        return None
    kept = {part.name for part in parts}
    lost = [one.name for one in paper.parts if one.name not in kept and f"\n## {escape(one.name)}: " in page]
    other = next((one for one in paper.scales if one != scale and escape(_lead(paper, one)) in page), None)
    told = [f"is of scale {other}"] if other else []
    told += [f"also has {', '.join(lost)}"] if lost else []
    return " and ".join(told) or None


def write(paper: Paper, scale: str, parts: Sequence[Made], folder: Path) -> list[Path]:
    """Write page.html, page.md and the figures that the latter shows into a folder."""
    paths = [folder / "page.html", folder / "page.md"]
    for made in parts:
        for name, figure in made.figures.items():
            paths.append(folder / name)
            save(figure, paths[-1])
    write_text(paths[0], to_html_page(paper, scale, parts))
    write_text(paths[1], to_markdown_page(paper, scale, parts))
    return paths


def to_markdown_page(paper: Paper, scale: str, parts: Sequence[Made]) -> str:
    """The page in Markdown; figures are files beside it."""
    return "\n".join(_markdown(paper, scale, parts)) + "\n"


def _markdown(paper: Paper, scale: str, parts: Sequence[Made]) -> Iterator[str]:
    yield f"# {escape(paper.title)}"
    yield f"\n{escape(_lead(paper, scale))} {_READ}\n"
    yield "What differs in all parts:\n"
    yield from (f"- {escape(one)}" for one in paper.scales[scale].differs)
    for made in parts:
        yield f"\n## {escape(made.part.name)}: {escape(made.part.title)}\n"
        yield from (to_markdown(sheet) for sheet in made.sheets)
        yield from (f"![{escape(made.part.title)}]({name})\n" for name in made.figures)
        if made.part.published:
            yield from _printed_markdown(made.part.published)
        yield from (f"- {escape(line)}" for line in _said(made))


def _lead(paper: Paper, scale: str) -> str:
    return f"{paper.source}. Made anew at scale {scale}: {paper.scales[scale].description}."


def _printed_markdown(printed: PrintedTable) -> Iterator[str]:
    yield "Published, not run here:\n"
    yield f"| | {' | '.join(map(escape, printed.columns))} |"
    yield f"|:--|{'--:|' * len(printed.columns)}"
    for name, row in printed.rows.items():
        yield f"| {escape(name)} | {' | '.join(escape(_figure(one)) for one in row)} |"
    yield ""


def _said(made: Made) -> Iterator[str]:
    """What stands below a part."""
    for one in made.part.differs:
        yield f"Differs: {one}"
    if made.part.not_at_hand:
        yield f"Not at hand: {made.part.not_at_hand}."
    for one in dict.fromkeys(made.lacking):
        yield f"Not made: {clean(one, 300)}."
    if made.seconds:
        minutes = f"{'' if made.is_timed else 'more than '}{made.seconds / _MINUTE:.1f}"
        yield f"Its runs took {minutes} min; parts share them."


def _figure(value: float | str | None) -> str:
    return "\N{EN DASH}" if value is None else str(value)


def to_html_page(paper: Paper, scale: str, parts: Sequence[Made]) -> str:
    """The page as one HTML file that runs no script and loads nothing."""
    body = Template(files("reports.reproduce").joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=text(paper.title),
        lead=text(_lead(paper, scale)),
        read=text(_READ),
        differs=_list(paper.scales[scale].differs),
        parts="\n".join(map(_section, parts)),
        footer=f"Made by contrastive-bench {text(version('contrastive-bench'))} from records.",
    )
    return document(text(paper.title), body)


def _section(made: Made) -> str:
    title = f"{made.part.name}: {made.part.title}"
    drawn = [f'<img src="{image(to_svg(one))}" alt="{text(title)}">' for one in made.figures.values()]
    inner = [*map(to_html, made.sheets), *(f"<figure>{one}</figure>" for one in drawn)]
    if printed := made.part.published:
        rows = [[text(name), *(text(_figure(one)) for one in row)] for name, row in printed.rows.items()]
        inner.append(grid("Published, not run here", ["", *printed.columns], rows))
    inner.append(_list(_said(made)))
    return "\n".join([f"<section><h2>{text(title)}</h2>", *inner, "</section>"])


def _list(lines: Sequence[str] | Iterator[str]) -> str:
    return f"<ul>{''.join(f'<li>{text(one)}</li>' for one in lines)}</ul>"
