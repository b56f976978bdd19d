"""One HTML file that opens from the disk: tables, figures, provenance, and a reader for the samples."""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from string import Template

from bench.store.runs import Run
from reports.page.chosen import Chosen, choose
from reports.page.drawings import drawings, first_drawing
from reports.page.elements import text
from reports.page.provenance import provenance
from reports.page.samples import count, gather, pack
from reports.page.tables import tables
from reports.table.caption import caption_lines
from reports.table.cells import OWN, Table, clean
from reports.table.models import across
from reports.table.order import sort
from reports.table.verdict import sentences

MOST_SAMPLES = 100_000
"""About how many samples a page takes unless told otherwise: a browser reads them within two seconds."""
_SCRIPTS = ("page.js", "reader.js", "texts.js", "questions.js")
_LISTED = 10_000
"""The most characters of a sentence that lists systems."""


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        html: The whole file.
        systems: Labels of the systems in it.
        num_samples: Continuations and answers in it.
        of: Those that the runs have.
    """

    html: str
    systems: tuple[str, ...]
    num_samples: int
    of: int


def build_page(
    runs: Sequence[Run],
    *,
    title: str | None = None,
    against: str | None = None,
    samples: bool = True,
    most: int = MOST_SAMPLES,
    figures: bool = True,
) -> Page:
    """Build the page of some runs. The same records give the same page.

    Args:
        runs: Comparable runs, of one base model or of several; those that did not finish are left out, and a footnote
            names them.
        title: What stands at its head; None for the suite's name.
        against: The label (or method) that the others are compared with, of each model; None for the base.
        samples: Whether the texts go into it: prompts and continuations are offensive.
        most: About how many of them, at most; 0 for all. See `reports.page.chosen`.
        figures: Whether figures are drawn.

    Raises:
        MissingError: no run has finished, two are not comparable, or a record is damaged.
        UsageError: `against` names no system.
    """
    table = across(runs, against, wanted=lambda _: True)
    systems = [list(some) for some in table.runs]
    chosen = choose(systems, most) if samples else Chosen(0)
    found = gather(systems, chosen) if samples else []
    total = count(found)
    shown = [run for system in systems for run in system] if figures else []
    told = title or f"Suite {table.caption.suite}: {len(table.systems)} systems"
    body = Template(asset("page.html")).substitute(
        title=text(told),
        lead=_lead(table),
        first=first_drawing(shown) if figures else "",
        tables=tables(table),
        figures=drawings(shown) if figures else "<p>None were asked for.</p>",
        samples=_reader(total, chosen, left_out=not samples),
        provenance=provenance(table, systems),
        data=_data(table, found) if total else "",
        footer=f"Made by contrastive-bench {text(version('contrastive-bench'))} from records alone.",
    )
    html = document(text(told), body, _script())
    return Page(html, tuple(system.label for system in table.systems), total, chosen.total if chosen.kept else total)


def document(title: str, body: str, script: str = "") -> str:
    """A whole page of a title and a body, both HTML, which loads nothing and runs nothing but the script."""
    style = asset("page.css")
    allowed = f"; script-src '{_policy_hash(script)}'; require-trusted-types-for 'script'; trusted-types 'none'"
    return Template(asset("document.html")).substitute(
        title=title,
        style=style,
        style_hash=_policy_hash(style),
        script_policy=allowed if script else "",
        body=f"{body}<script>{script}</script>" if script else body,
    )


def asset(name: str) -> str:
    """A file of this folder."""
    return files("reports.page").joinpath(name).read_text(encoding="utf-8")


def _script() -> str:
    return f'(() => {{\n"use strict";\n{"".join(map(asset, _SCRIPTS))}}})();\n'


def _policy_hash(source: str) -> str:
    """What the page's security policy knows a script or style by."""
    return f"sha256-{b64encode(hashlib.sha256(source.encode()).digest()).decode()}"


def _lead(table: Table) -> str:
    bad = ", ".join(system.label for system in table.systems if not system.publishable)
    warning = f'<p class="warning"><strong>Not publishable:</strong> {text(bad, _LISTED)}.</p>' if bad else ""
    flagged = "; ".join(f"{one.label} ({', '.join(one.flags)})" for one in table.systems if one.flags)
    warning += f'<p class="warning"><strong>Flagged:</strong> {text(flagged, _LISTED)}.</p>' if flagged else ""
    parts = [sentence.partition(":") for sentence in sentences(sort(table, "attribute"))]
    said = "".join(
        f"<li><strong>{text(whose)}</strong>{text(colon + what, _LISTED)}</li>" for whose, colon, what in parts
    )
    verdict = f'<ul class="verdict">{said}</ul>' if said else ""
    return f"<p>{'<br>'.join(map(text, caption_lines(table.caption)))}</p>{verdict}{warning}"


def _reader(total: int, chosen: Chosen, *, left_out: bool) -> str:
    if left_out:
        return "<p>The samples were left out of this page.</p>"
    if not total:
        return "<p>These runs have no samples.</p>"
    part = ""
    if chosen.kept:
        taken = "; ".join(f"{clean(task, 80)}: {len(ids):,}" for task, ids in sorted(chosen.kept.items()))
        part = (
            f"<p><strong>{total:,} of {chosen.total:,} samples</strong> are on this page: those of some prompts and"
            f" questions ({text(taken)}), the same for all systems, chosen by the hash of their ids. Tables and figures"
            " are over all samples. <code>--max-samples 0</code> takes them all.</p>"
        )
    return part + asset("reader.html")


def _data(table: Table, tasks: Sequence[dict[str, object]]) -> str:
    """What the reader reads, in an element that a browser neither runs nor shows."""
    labels = [system.label for system in table.systems]
    reference = labels.index(table.reference) if table.reference in labels else None
    caption = table.caption
    packed = pack(
        {
            "threshold": caption.threshold,
            "adjective": caption.scored.adjective.replace("_", " "),
            "lowerIsWanted": caption.scored.wanted == "low",
            "systems": labels,
            "reference": reference,
            "own": _own_references(table),
            "tasks": tasks,
        }
    )
    return f'<script type="application/octet-stream" id="data">{packed}</script>'


def _own_references(table: Table) -> list[int | None] | None:
    """Of several models: for each system the place of what it is compared with; None of one."""
    if table.reference != OWN:
        return None
    places = {system.model: place for place, system in enumerate(table.systems) if system.is_reference}
    return [places.get(system.model) for system in table.systems]
