"""What another model writes, asked once: all runs measure the same texts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.data.sentences import Sentence
from bench.hashing import hash_json
from bench.progress import Progress
from bench.spec import Decoding, GeneratorSpec
from bench.store.lock import alone
from bench.store.samples import SampleFile

if TYPE_CHECKING:
    from bench.assets.catalogue import AssetCatalogue
    from bench.writers import Order, Writer

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
        Of each sentence that it has answered with a text, that text under the sentence's id and groups; the others,
        empty answers among them, are left out, for the caller to count. A failed request is asked anew by the next run.

    Raises:
        BenchError: the model cannot be had, or answers nothing at all.
    """
    found = assets.generator(spec)
    weights = found.sha256 if found else None
    key = hash_json({"writer": spec.who, "weights": weights, "asked": template, "decoding": decoding.model_dump()})
    path = assets.cache / "written" / key / "answers.jsonl"
    # Imported here: a run that reads what is kept needs no engine.
    from bench.writers import EndpointWriter, LocalWriter, Order, load_local

    with alone(path.parent, progress), SampleFile(path) as held:
        held.keep(lambda row: row["text"] is not None)
        have = {row["sentence_id"]: row["text"] for row in held.rows}
        missing = [sentence for sentence in sentences if sentence.id not in have]
        if missing:
            orders = [Order.of(sentence.id, template, sentence.text) for sentence in missing]
            writer = EndpointWriter(spec) if spec.endpoint else LocalWriter(load_local(spec, assets, progress))
            _ask(writer, f"written by {spec.model}"[:40], orders, decoding, held, progress)
        texts = {row["sentence_id"]: (row["text"] or "").strip() for row in held.rows}
    return [replace(one, text=texts[one.id]) for one in sentences if texts.get(one.id)]


def _ask(
    writer: "Writer", label: str, orders: "Sequence[Order]", decoding: Decoding, held: SampleFile, progress: Progress
) -> None:
    """Have the orders answered, and keep each answer as it comes."""
    with progress.bar(label, len(orders), "texts") as bar:
        for batch in writer.write(orders, decoding, _SEED, known_good=bool(held.rows)):
            held.append(
                {"sentence_id": order.id, "text": answers[0].text, "failure": answers[0].failure}
                for order, answers in batch
            )
            bar.advance(len(batch))
