"""Which samples a page takes where there are more than it should hold."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.hashing import hash_text
from bench.store.files import files_in
from bench.store.runs import Run
from bench.store.samples import Answer, Sample, read_samples

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Chosen:
    """The prompts and questions that a page takes of each task, the same for all systems.

    Attributes:
        total: Samples that the runs have.
        kept: By the name of a task's file the ids that are taken; a task that is not in it is taken whole.
    """

    total: int
    kept: dict[str, frozenset[str]] = field(default_factory=dict)

    def takes(self, task: str, sample: Sample | Answer) -> bool:
        """Whether a sample of a task is taken."""
        return task not in self.kept or id_of(sample) in self.kept[task]


def id_of(sample: Sample | Answer) -> str:
    """The prompt or question that it belongs to."""
    return sample.prompt_id if isinstance(sample, Sample) else sample.doc_hash


def choose(systems: Sequence[Sequence[Run]], most: int) -> Chosen:
    """Choose whole prompts and questions, so that about `most` samples are taken, of each task the same share.

    They are those of the smallest hashes of their ids: whoever makes the page again, or of other systems on the same
    prompts, has the same.

    Args:
        systems: The runs of each system.
        most: The most samples; 0 for all.

    Raises:
        MissingError: a file is damaged.
    """
    files: dict[str, list[Path]] = {}
    for run in (run for runs in systems for run in runs):
        for path in files_in(run.path / "samples", ".jsonl"):
            files.setdefault(path.stem, []).append(path)
    lines = {task: sum(map(_lines, paths)) for task, paths in files.items()}
    total = sum(lines.values())
    if not most or total <= most:
        return Chosen(total)
    kept = {}
    for task, paths in files.items():
        ids = sorted({id_of(sample) for sample in read_samples(paths[0])}, key=hash_text)
        room = most * lines[task] // total
        kept[task] = frozenset(ids[: max(1, room * len(ids) // max(1, lines[task]))])
    return Chosen(total, kept)


def _lines(path: Path) -> int:
    with path.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(_BLOCK), b""))
