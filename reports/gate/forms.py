"""A check for machines and reviews: JUnit XML, Markdown for a pull request, annotations for GitHub.

Every text may come out of a record that somebody else made: it is escaped by the rules of each form.
"""

from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as Tree

from reports.gate.decision import CheckOutcome, Decision
from reports.gate.requirements import RequirementDecision
from reports.gate.wording import (
    RULE,
    WORDS,
    change,
    figure,
    headline,
    measured,
    name,
    required,
    requirement,
    sentence,
    sources,
)
from reports.table.cells import SENTENCE, WHOLE, clean
from reports.table.forms.markdown import escape

_FOUND = {"failed": "failure", "inconclusive": "failure", "invalid": "error", "unjudged": "skipped"}


def junit(outcome: CheckOutcome) -> str:
    """JUnit XML: a test case a metric, a requirement, and the runs as a whole; inconclusive is a failure."""
    where = f"bench.check.{clean(outcome.suite, 60)}.{clean(outcome.label, WHOLE)}"
    cases = [_case(where, "comparable", "error" if outcome.problems else None, "; ".join(outcome.problems))]
    cases += [
        _case(where, clean(one.key, WHOLE), _FOUND.get(one.status), sentence(one), one.status)
        for one in outcome.decisions
    ]
    cases += [
        _case(where, requirement(one), _FOUND.get(one.status), required(one), one.status)
        for one in outcome.requirements
    ]
    tags = [found.tag for case in cases for found in case]
    counts = {"failures": tags.count("failure"), "errors": tags.count("error"), "skipped": tags.count("skipped")}
    numbers = {"tests": str(len(cases)), **{key: str(count) for key, count in counts.items()}}
    root = Tree.Element("testsuites", numbers)
    suite = Tree.SubElement(root, "testsuite", {"name": where, **numbers})
    suite.extend(cases)
    Tree.indent(root, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{Tree.tostring(root, encoding="unicode")}\n'


def _case(where: str, name: str, tag: str | None, text: str, kind: str = "invalid") -> Tree.Element:
    case = Tree.Element("testcase", {"classname": where, "name": name, "time": "0"})
    if tag is not None:
        message = clean(text, SENTENCE)
        found = Tree.SubElement(case, tag, {"message": message})
        if tag != "skipped":
            found.set("type", kind)
            found.text = message
    return case


def markdown(outcome: CheckOutcome) -> str:
    """A summary for a pull request: what is not passed first, all metrics folded in below."""
    sign = {"passed": "✅", "failed": "❌", "inconclusive": "⚠️"}.get(outcome.status, "⛔")
    parts = [f"### {sign} {_escaped(headline(outcome))}", ""]
    if outcome.run_ids:
        parts += [_escaped(sources(outcome)), ""]
    parts += [f"- **problem:** {_escaped(problem)}" for problem in outcome.problems]
    parts += [""] if outcome.problems else []
    if outcome.requirements:
        parts += [*_required(outcome.requirements), ""]
    wrong = [one for one in outcome.decisions if one.status not in ("passed", "unjudged")]
    if wrong:
        parts += [*_table(wrong), ""]
    if outcome.decisions:
        parts += ["<details><summary>all metrics</summary>", "", *_table(outcome.decisions), ""]
        parts += [*(f"{_escaped(rule)}  " for rule in RULE), "", "</details>", ""]
    parts += [f"- {_escaped(note)}" for note in outcome.notes]
    return "\n".join(parts).rstrip("\n") + "\n"


def _table(decisions: Sequence[Decision]) -> Iterator[str]:
    yield "| | metric | baseline | run | worse by | at most | tolerance | limit | |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---|"
    for one in decisions:
        cells = [
            WORDS[one.status] if one.status != "invalid" else "MISSING",
            f"{'**primary** ' if one.is_primary else ''}{_escaped(name(one))}",
            figure(one.baseline),
            figure(one.value),
            change(one.loss, relative=one.relative),
            change(one.high, relative=one.relative),
            change(one.tolerance, relative=one.relative, sign=False),
            change(one.limit, relative=one.relative, sign=False),
            _escaped(one.why or ""),
        ]
        yield f"| {' | '.join(cells)} |"


def _required(requirements: Sequence[RequirementDecision]) -> Iterator[str]:
    yield "| | method | requirement | measured [95 % interval] | |"
    yield "|---|---|---|---|---|"
    for one in requirements:
        word = WORDS[one.status] if one.status != "invalid" else "MISSING"
        cells = [word, *map(_escaped, (one.label, one.text, measured(one), one.why or ""))]
        yield f"| {' | '.join(cells)} |"


def annotations(outcome: CheckOutcome) -> list[str]:
    """GitHub workflow commands, one a line: an error for each problem, and for whatever is not passed."""
    lines = [_command("error", "bench check", problem) for problem in outcome.problems]
    lines += [
        _command("error", f"bench check: {WORDS[one.status].lower()}", sentence(one))
        for one in outcome.decisions
        if one.status in ("failed", "inconclusive", "invalid")
    ]
    lines += [
        _command("error", f"bench check: {WORDS[one.status].lower()}", required(one))
        for one in outcome.requirements
        if one.status != "passed"
    ]
    if outcome.exit_code and not lines:
        lines.append(_command("error", "bench check", headline(outcome)))
    lines += [_command("notice", "bench check", note) for note in outcome.notes]
    if not outcome.exit_code:
        lines.append(_command("notice", "bench check", headline(outcome)))
    return lines


def _command(kind: str, title: str, message: str) -> str:
    """A workflow command: `%`, line breaks, and in a property `:` and `,`, are escaped as the runner decodes them."""
    data = clean(message, SENTENCE).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    label = clean(title, 100).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{kind} title={label.replace(':', '%3A').replace(',', '%2C')}::{data}"


def _escaped(text: str) -> str:
    return escape(clean(text, SENTENCE))
