"""Tiny random checkpoints for neural scorers."""

from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "you", "idiot", "kind", "friend", "a"]
JIGSAW = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]


def tiny_bert(folder: Path, **config: Any) -> BertForSequenceClassification:
    """A tiny random BERT classifier that reads 30 tokens; its tokenizer and configuration are saved to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    made = BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, initializer_range=1.0, **shape, **config)
    torch.manual_seed(0)
    model = BertForSequenceClassification(made).eval()
    made.save_pretrained(folder)
    return model


def tiny_classifier(folder: Path, **config: Any) -> BertForSequenceClassification:
    """A tiny random classifier, saved to `folder` with its weights."""
    model = tiny_bert(folder, **config)
    model.save_pretrained(folder)
    return model


def tiny_detoxify(place: Path) -> tuple[dict[str, Any], BertForSequenceClassification, dict[str, Any]]:
    """Options for a tiny detoxify checkpoint under `place`, the model in it, and the checkpoint's content."""
    model = tiny_bert(place / "base", num_labels=6)
    arch = {
        "model_type": "bert-base-uncased",
        "model_name": "BertForSequenceClassification",
        "tokenizer_name": "BertTokenizer",
        "num_classes": 6,
    }
    content = {
        "config": {"arch": {"args": arch}, "dataset": {"args": {"classes": JIGSAW}}},
        "state_dict": model.state_dict(),
    }
    torch.save(content, place / "tiny.ckpt")
    options = {"checkpoint": str(place / "tiny.ckpt"), "config_path": str(place / "base"), "device": "cpu"}
    return options, model, content


def tiny_bilstm(place: Path, *, seed: int = 0) -> dict[str, Any]:
    """Options for a small random network of the scorer `bilstm`, saved under `place`."""
    import numpy as np

    from bench.assets.bilstm import write

    folder = place / f"bilstm-{seed}"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    words = WORDS[5:]
    shapes = {"embedding.weight": (len(words) + 1, 3), "hidden.weight": (5, 8), "hidden.bias": (5,)}
    shapes |= {"output.weight": (6, 5), "output.bias": (6,)}
    for suffix in ("", "_reverse"):
        shapes |= {f"lstm.weight_ih_l0{suffix}": (16, 3), f"lstm.weight_hh_l0{suffix}": (16, 4)}
        shapes |= {f"lstm.bias_ih_l0{suffix}": (16,), f"lstm.bias_hh_l0{suffix}": (16,)}
    tensors = {name: draw.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    write(folder, tensors, {"labels": JIGSAW, "length": 100, "words": words})
    return {"weights": str(folder), "device": "cpu"}
