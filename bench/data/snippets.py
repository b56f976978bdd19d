"""Texts about subjects by what is true of them, as CounterFact has them (Meng et al., 2022, arXiv 2202.05262)."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from bench.data.files import read_rows
from bench.errors import UsageError

Attribute = tuple[str, str]
"""A relation and one of its objects, by their ids (`P103`, `Q150`)."""
_SHAPE = '{"relation_id": "P103", "target_id": "Q150", "samples": [{"text": ...}, ...]}'


def load_snippets(path: Path, wanted: Collection[Attribute]) -> Mapping[Attribute, tuple[str, ...]]:
    """The texts about subjects that have some of these attributes, in the file's order, each once.

    Raises:
        UsageError: a row is none of CounterFact's, or there is no text for any of them.
    """
    found: dict[Attribute, dict[str, None]] = defaultdict(dict)
    for where, row in read_rows(path):
        attribute = _id(row, "relation_id", where), _id(row, "target_id", where)
        samples = row.get("samples")
        if not isinstance(samples, list):
            raise UsageError(f"{where}: no list of texts under the key 'samples'", mend=f"rows are {_SHAPE}")
        texts = [_text(sample, where) for sample in samples]
        if attribute in wanted:
            found[attribute].update(dict.fromkeys(text for text in texts if text))
    if not any(found.values()):
        what = f"{path} has no text for any of {len(wanted)} relations and new objects of the facts"
        raise UsageError(
            what, mend="take the file of the facts' own data, whose rows name them by 'relation_id' and 'id'"
        )
    return {attribute: tuple(texts) for attribute, texts in found.items()}


def _id(row: Mapping[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise UsageError(f"{where}: no id under the key '{key}'", mend=f"rows are {_SHAPE}")
    return value


def _text(sample: Any, where: str) -> str:
    text = sample.get("text") if isinstance(sample, dict) else None
    if not isinstance(text, str):
        raise UsageError(f"{where}: a sample without a text under the key 'text'", mend=f"rows are {_SHAPE}")
    return text.strip()
