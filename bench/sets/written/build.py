"""From sentences to contrastive sets: a generator writes candidates, they are measured and filtered; it can resume."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.sentences import Sentence
from bench.engine.ahead import one_ahead
from bench.errors import MissingError
from bench.hashing import hash_json
from bench.progress import SILENT, Progress
from bench.sets.format import ContrastiveSet, Text, save_sets
from bench.sets.written.filters import Candidate, FilterResult, apply_filters, cleaned, trained_text, yields
from bench.sets.written.recipe import Recipe
from bench.spec import TEXT_KINDS, TextKind
from bench.store.appended import AppendedFile
from bench.store.files import read_jsonl, write_json, write_text
from bench.store.workfolder import claim
from bench.writers.base import Answer, Done, Order, Writer
from bench.writers.resume import resume

if TYPE_CHECKING:
    from bench.sets.written.measure import Meter

_MARKER = "recipe.json"
_FILES = (_MARKER, "candidates.jsonl", "sets.jsonl", "verdicts.jsonl", "report.json")
CandidateKey = tuple[str, str, int]
"""Names a candidate: sentence id, kind, number of the sample."""
_REPORTS = 10  # lines on how it goes, over the whole work


@dataclass
class Build:
    """One folder of sets: recipe.json, candidates.jsonl (appended to), sets.jsonl, verdicts.jsonl and report.json.

    Attributes:
        folder: Where it lies.
        recipe: How the sets are made.
        sentences: Of what.
        facts: What identifies the models, for the provenance, and so that no other models resume the work.
        evaluation: Prompts that no text may meet.
        progress: Where to report.
    """

    folder: Path
    recipe: Recipe
    sentences: Sequence[Sentence]
    facts: dict[str, Any]
    evaluation: Sequence[str] = ()
    progress: Progress = field(default=SILENT)

    def begin(self, *, fresh: bool = False) -> None:
        """Write down what is made here, or find that the same work has begun; `fresh` throws away what it made.

        Raises:
            UsageError: something else was begun in the folder.
            MissingError: the file that says what was begun is damaged.
        """
        for name in _FILES if fresh and (self.folder / _MARKER).exists() else ():
            (self.folder / name).unlink(missing_ok=True)
        sampled = {**self.recipe.sampled(), **self.facts, "conditioned": self.recipe.conditioned}
        told = {"recipe": self.recipe.model_dump(), "facts": self.facts, "key": hash_json(sampled)}
        claim(
            self.folder,
            _MARKER,
            told,
            identity="key",
            differs="another generator, templates, sampling, scorer or encoder",
            mend="name another folder with --out, or throw its candidates away with --fresh",
            fresh=fresh,
        )

    @cached_property
    def _wanted(self) -> dict[CandidateKey, str]:
        """Every candidate, with the order that it is an answer to."""
        numbers = range(self.recipe.decoding.num_samples)
        return {
            (sentence.id, kind, number): name for name, (sentence, kind) in self._owners.items() for number in numbers
        }

    @cached_property
    def _owners(self) -> dict[str, tuple[Sentence, TextKind]]:
        """Of which sentence and kind an order is, by its id."""
        return {f"{sentence.id}/{kind}": (sentence, kind) for sentence in self.sentences for kind in TEXT_KINDS}

    def _orders(self, missing: Mapping[CandidateKey, str]) -> list[Order]:
        """What must be written for these candidates."""
        numbers: dict[str, list[int]] = {}
        for (_, _, number), name in missing.items():
            numbers.setdefault(name, []).append(number)
        orders = []
        for name, samples in numbers.items():
            sentence, kind = self._owners[name]
            orders.append(Order.of(name, getattr(self.recipe.templates, kind), sentence.text, tuple(samples)))
        return orders

    def todo(self) -> bool:
        """Whether any candidate is not written yet; a damaged file of them is set aside."""
        with AppendedFile(self.folder / "candidates.jsonl", self.progress) as held:
            return not self._wanted.keys() <= {_key(row) for row in held.rows if _is_written(row)}

    def sample(self, writer: Writer, meter: "Meter", *, ahead: bool) -> None:
        """Have every candidate written and measured that is not there yet; nothing that is there is written again.

        Args:
            writer: Writes.
            meter: Measures.
            ahead: Whether to measure while the writer writes the next: for a writer that waits for another machine.
        """
        total = len(self._wanted)

        def work(missing: Mapping[CandidateKey, str]) -> Iterator[list[Candidate]]:
            told = len(held.rows)
            orders, known_good = self._orders(missing), bool(held.rows)
            for _, rows in self._written(writer, meter, orders, ahead=ahead, known_good=known_good):
                yield rows
                if len(held.rows) - told >= total / _REPORTS:
                    told = len(held.rows)
                    self._tell(held.rows)

        with AppendedFile(self.folder / "candidates.jsonl", self.progress) as held:
            bar = self.progress.bar("candidates", total, "texts")
            resume(held, self._wanted, work, bar, key=_key, succeeded=_is_written)

    def _written(
        self, writer: Writer, meter: "Meter", orders: list[Order], *, ahead: bool, known_good: bool
    ) -> Iterator[tuple[list[Done], list[Candidate]]]:
        """Orders as they are done, with their candidates, measured."""

        def rows_of(done: list[Done]) -> list[Candidate]:
            rows = [
                _row(*self._owners[order.id], sample, answer)
                for order, answers in done
                for sample, answer in answers.items()
            ]
            meter.measure(rows)
            return rows

        batches = writer.write(orders, self.recipe.decoding, self.recipe.seed, known_good=known_good)
        return one_ahead(batches, rows_of) if ahead else ((batch, rows_of(batch)) for batch in batches)

    def _tell(self, rows: Sequence[Candidate]) -> None:
        sentences = {row["sentence_id"] for row in rows}
        count = len(apply_filters(rows, self.recipe, self.evaluation).kept)
        self.progress.note(f"{len(rows)} candidates of {len(sentences)} sentences so far: {count} sets")

    def finish(self) -> dict[str, Any]:
        """Filter the candidates, and write the sets, each candidate's verdict and the report.

        Returns:
            The report: sentences, sets, sets too small, texts of each kind, failed requests, the yield of each filter.

        Raises:
            MissingError: no set is left; verdicts and report are written nevertheless.
        """
        wanted = {sentence.id: place for place, sentence in enumerate(self.sentences)}
        rows = [row for row in read_jsonl(self.folder / "candidates.jsonl") if row["sentence_id"] in wanted]
        rows.sort(key=lambda row: (wanted[row["sentence_id"]], TEXT_KINDS.index(row["kind"]), row["sample"]))
        filtered = apply_filters(rows, self.recipe, self.evaluation)
        report = self._report(rows, filtered)
        lines = (
            {name: row[name] for name in ("sentence_id", "kind", "sample")} | {"dropped": why}
            for row, why in zip(rows, filtered.dropped, strict=True)
        )
        write_text(self.folder / "verdicts.jsonl", _lines(lines))
        write_json(self.folder / "report.json", report)
        target = self.folder / "sets.jsonl"
        if not filtered.kept:
            target.unlink(missing_ok=True)
            raise MissingError(
                f"none of {len(self.sentences)} sentences has {self.recipe.min_positives} positives and "
                f"{self.recipe.min_negatives} negatives left ({_worst(report)})",
                mend=f"see {self.folder / 'report.json'}; more samples, another generator, templates or filters",
            )
        save_sets(target, [self._set(kept) for kept in filtered.kept.values()])
        return report

    def _report(self, rows: Sequence[Candidate], filtered: FilterResult) -> dict[str, Any]:
        kept = [row for some in filtered.kept.values() for row in some]
        return {
            "sentences": len(self.sentences),
            "sets": len(filtered.kept),
            "too_small": filtered.small,
            "texts": dict(Counter(row["kind"] for row in kept)),
            "failed_requests": dict(Counter(row["failure"] for row in rows if row["failure"])),
            "unscored": sum(row["text"] is not None and row["toxicity"] is None for row in rows),
            "yields": yields(rows, filtered),
        }

    def _set(self, rows: Sequence[Candidate]) -> ContrastiveSet:
        first, conditioned = rows[0], self.recipe.conditioned

        def texts(kind: str) -> list[Text]:
            return [
                Text(text=trained_text(row["text"], conditioned=conditioned), score=row["toxicity"])
                for row in rows
                if row["kind"] == kind
            ]

        return ContrastiveSet(
            anchor=first["sentence"] if conditioned else "",
            positives=texts("positive"),
            negatives=texts("negative"),
            provenance={
                "source": "bench data generate",
                "sentence": first["sentence"],
                "sentence_id": first["sentence_id"],
                "group": first["group"],
                "seed": self.recipe.seed,
                "similarity": {kind: _mean(rows, kind, "similarity") for kind in TEXT_KINDS},
                "log_perplexity": {kind: _mean(rows, kind, "log_perplexity") for kind in TEXT_KINDS},
                **self.facts,
            },
        )


def _key(row: Candidate) -> CandidateKey:
    """Which candidate a row is."""
    return row["sentence_id"], row["kind"], row["sample"]


def _is_written(row: Candidate) -> bool:
    """Whether the request for a candidate succeeded."""
    return row["text"] is not None


def _row(sentence: Sentence, kind: TextKind, sample: int, answer: Answer) -> Candidate:
    return {
        "sentence_id": sentence.id,
        "sentence": sentence.text,
        "group": sentence.group,
        "kind": kind,
        "sample": sample,
        "text": None if answer.text is None else cleaned(answer.text),
        "failure": answer.failure,
        "ended": answer.ended,
        "toxicity": None,
        "similarity": None,
        "rouge_l": None,
        "length_ratio": None,
        "language": None,
        "log_perplexity": None,
    }


def _mean(rows: Sequence[Candidate], kind: str, name: str) -> float | None:
    values = [row[name] for row in rows if row["kind"] == kind and row[name] is not None]
    return round(sum(values) / len(values), 4) if values else None


def _worst(report: dict[str, Any]) -> str:
    """What dropped most of each kind."""
    reasons = []
    for kind in TEXT_KINDS:
        steps = [one for one in report["yields"] if one["kind"] == kind and one["filter"] != "all"]
        if steps:
            worst = max(steps, key=lambda one: one["dropped"])
            reasons.append(f"{kind}s: '{worst['filter']}' dropped {worst['dropped']} of {worst['in']}")
    return "; ".join(reasons)


def _lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
