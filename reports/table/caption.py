"""What all figures of a table share, in a few lines."""

from collections.abc import Iterator

from reports.table.cells import Caption, clean

_TIMES = "\N{MULTIPLICATION SIGN}"


def caption_lines(caption: Caption) -> Iterator[str]:
    """Suite and model; scorer; prompts, decoding and seeds."""
    revision = f"@{caption.revision[:12]}" if caption.revision else ""
    dtype = f" ({caption.dtype})" if caption.dtype else ""
    yield f"suite {caption.suite} · {caption.model}{revision}{dtype}"
    threshold = "?" if caption.threshold is None else f"{caption.threshold:g}"
    yield f"scorer: {caption.scorer}, {caption.scored.adjective.replace('_', ' ')} from {threshold}"
    if caption.further:
        yield f"further scorers: {'; '.join(caption.further)}"
    decoding = {key: one if isinstance(one, int | float) else clean(one, 20) for key, one in caption.decoding.items()}
    prompts = f"{caption.num_prompts} prompts {_TIMES} " if caption.num_prompts else ""
    kept = f", top-k {decoding['top_k']}" if decoding.get("top_k") else ""
    heat = f", temperature {decoding['temperature']}" if decoding.get("temperature", 1.0) != 1.0 else ""
    count = decoding.get("num_samples", "?")
    samples = f"{count} {'sample' if count == 1 else 'samples'}"
    seeds = f"{'seed' if len(caption.seeds) == 1 else 'seeds'} {', '.join(map(str, caption.seeds))}"
    if decoding.keys() > {"num_samples"}:  # else their number is all that is known
        nucleus = f"top-p {decoding.get('top_p', '?')}"
        samples += f" of up to {decoding.get('max_new_tokens', '?')} tokens, {nucleus}{kept}{heat}"
    yield f"{prompts}{samples} · {seeds}"
