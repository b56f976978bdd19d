"""What all figures of a table share, in a few lines."""

from collections.abc import Iterator

from reports.table.cells import Caption, clean

_TIMES = "\N{MULTIPLICATION SIGN}"


def caption_lines(caption: Caption) -> Iterator[str]:
    """Suite and model; scorer; prompts, decoding and seeds."""
    revision = f"@{caption.revision[:12]}" if caption.revision else ""
    yield f"suite {caption.suite} · {caption.model}{revision} ({caption.dtype})"
    threshold = "?" if caption.threshold is None else f"{caption.threshold:g}"
    yield f"scorer: {caption.scorer}, {caption.scored.adjective.replace('_', ' ')} from {threshold}"
    if caption.further:
        yield f"further scorers: {'; '.join(caption.further)}"
    decoding = {key: one if isinstance(one, int | float) else clean(one, 20) for key, one in caption.decoding.items()}
    prompts = f"{caption.num_prompts} prompts {_TIMES} " if caption.num_prompts else ""
    kept = f", top-k {decoding['top_k']}" if decoding.get("top_k") else ""
    heat = f", temperature {decoding['temperature']}" if decoding.get("temperature", 1.0) != 1.0 else ""
    count = decoding.get("num_samples", "?")
    samples = f"{count} {'sample' if count == 1 else 'samples'} of up to {decoding.get('max_new_tokens', '?')} tokens"
    seeds = f"{'seed' if len(caption.seeds) == 1 else 'seeds'} {', '.join(map(str, caption.seeds))}"
    nucleus = f"top-p {decoding.get('top_p', '?')}"
    yield f"{prompts}{samples}, {nucleus}{kept}{heat} · {seeds}"
