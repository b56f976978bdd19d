"""What another model writes, asked once: all runs measure the same texts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.sentences import Sentence
from bench.hashing import hash_json
from bench.progress import Progress
from bench.spec import Decoding, GeneratorSpec
from bench.store.appended import AppendedFile
from bench.store.lock import alone
from bench.store.seal import is_sound, sealed
from bench.writers.base import Order
from bench.writers.resume import Row, resume

if TYPE_CHECKING:
    from bench.assets.catalogue import AssetCatalogue

_SEED = 0


def cached_answers(
    spec: GeneratorSpec,
    template: str,
    decoding: Decoding,
    sentences: Sequence[Sentence],
    assets: "AssetCatalogue",
    progress: Progress,
) -> list[Sentence]:
    """A model's answers to sentences: found in the cache, or asked for and kept there.

    Args:
        spec: The model.
        template: What it is asked, with `{sentence}`.
        decoding: How it is sampled.
        sentences: What it is asked about.
        assets: Finds the model, and has the cache.
        progress: Where to report.

    Returns:
        Of each sentence that it has answered with a text, that text under the sentence's id and groups. The others,
        empty answers among them, are left out, for the caller to count. The next run asks again where a request failed.

    Raises:
        BenchError: the model is not available, or answers nothing at all.
    """
    model = assets.generator(spec)
    weights = model.sha256 if model else None
    key = hash_json({"writer": spec.who, "weights": weights, "asked": template, "decoding": decoding.model_dump()})
    path = assets.cache / "written" / key / "answers.jsonl"

    def ask(missing: Mapping[str, Sentence]) -> Iterator[list[Row]]:
        # Imported here: a run that reads what is kept needs no engine.
        from bench.writers.opening import open_writer

        orders = [Order.of(sentence.id, template, sentence.text) for sentence in missing.values()]
        writer = open_writer(spec, assets, progress)
        for batch in writer.write(orders, decoding, _SEED, known_good=bool(held.rows)):
            yield [
                sealed({"sentence_id": order.id, "text": answers[0].text, "failure": answers[0].failure}, key)
                for order, answers in batch
            ]

    with alone(path.parent, progress), _opened(path, key, progress) as held:
        resume(
            held,
            {sentence.id: sentence for sentence in sentences},
            ask,
            progress.bar(f"written by {spec.model}"[:40], len(sentences), "texts"),
            key=lambda row: str(row["sentence_id"]),
            succeeded=lambda row: row["text"] is not None,
        )
        texts = {row["sentence_id"]: (row["text"] or "").strip() for row in held.rows}
    return [replace(sentence, text=texts[sentence.id]) for sentence in sentences if texts.get(sentence.id)]


def _opened(path: Path, key: str, progress: Progress) -> AppendedFile:
    """The file of answers, without those that fail their seal; one that cannot be read is set aside."""
    held = AppendedFile(path, progress)
    before = len(held.rows)
    held.keep(lambda row: is_sound(row, key))
    if dropped := before - len(held.rows):
        progress.note(f"{dropped} of {before} answers in {path} were changed since they were written: asked for anew")
    return held
