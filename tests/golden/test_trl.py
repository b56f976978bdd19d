"""The preference losses are the community's: on TRL's own batch, loss and gradient equal TRL's own trainers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.policy import LoadedModel
from methods.dpo import DPO, DPOConfig
from methods.kto import KTO, KTOConfig
from methods.learning.batches import Likelihoods, pad_texts, score_batch
from methods.learning.packing import pack
from methods.orpo import ORPO, ORPOConfig
from methods.simpo import SimPO, SimPOConfig

PAIRS = [
    {"prompt": "She asked", "chosen": " whether the train was late.", "rejected": " him and said that he did not"},
    {"prompt": "The river rises in the hills, runs", "chosen": " south.", "rejected": " past two idiots and"},
    {"prompt": "He did not like the weather;", "chosen": " nobody did, it rained", "rejected": " you"},
]


@pytest.fixture
def model(tiny_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model)


def moved(model: torch.nn.Module) -> torch.nn.Module:
    """The model after some training, so that it differs from its reference."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


Layout = Callable[[list[tuple[list[int], list[int]]]], dict[str, torch.Tensor]]


@pytest.fixture(params=[pad_texts, pack], ids=["padded", "packed"])
def layout(request: pytest.FixtureRequest) -> Layout:
    """Either way in which texts are laid out for training."""
    return cast("Layout", request.param)


def our_batch(
    layout: Layout, rows: list[tuple[list[int], list[int]]], reference: torch.Tensor | None = None
) -> dict[str, Any]:
    """TRL's (prompt, completion) rows, chosen ones first, in our layout: pair i is anchor i."""
    half = len(rows) // 2
    batch = {
        **layout(rows),
        "group": torch.arange(half).repeat(2),
        "positive": torch.arange(len(rows)) < half,
    }
    return batch if reference is None else batch | {"reference": reference}


def score(model: Any, batch: dict[str, Any], **options: Any) -> Likelihoods:
    return score_batch(model, batch, base=LoadedModel(model, cast("Any", None), "tiny", "hash"), **options)


def gradient(loss: torch.Tensor, model: torch.nn.Module) -> torch.Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([parameter.grad.flatten().clone() for parameter in model.parameters()])


def assert_equal(method: Any, ours: dict[str, Any], theirs: torch.Tensor, model: Any) -> None:
    expected = gradient(theirs, model)
    found_loss = method.loss(score(model, ours, prompts=method.prompts))
    assert float(found_loss.detach()) == pytest.approx(float(theirs.detach()), abs=1e-5)
    found = gradient(found_loss, model)
    assert float(expected.abs().max()) > 1e-3
    assert torch.allclose(found, expected, atol=1e-5)


def options(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": len(PAIRS),
        "use_cpu": True,
        "report_to": [],
        "bf16": False,
    }


def masked_rows(batch: dict[str, torch.Tensor], prefix: str = "") -> list[tuple[list[int], list[int]]]:
    """Rows of TRL's batches that mark the completion by a mask."""
    parts = (batch[f"{prefix}{name}"].tolist() for name in ("input_ids", "attention_mask", "completion_mask"))
    return [
        (
            [token for token, real, own in zip(*row, strict=True) if real and not own],
            [token for token, real, own in zip(*row, strict=True) if real and own],
        )
        for row in zip(*parts, strict=True)
    ]


def test_dpo(model, tiny_model, tmp_path, layout):
    from trl import DPOConfig as Theirs
    from trl import DPOTrainer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    trainer = DPOTrainer(
        model=model,
        args=Theirs(**options(tmp_path), beta=0.3, loss_type=["sigmoid"]),
        train_dataset=Dataset.from_list(PAIRS),
        processing_class=tokenizer,
    )
    moved(trainer.model).eval()
    batch = next(iter(trainer.get_train_dataloader()))
    theirs = trainer.compute_loss(trainer.model, batch)
    rows = masked_rows(batch)
    with torch.no_grad():
        reference = score(trainer.ref_model.eval(), our_batch(layout, rows)).logprob
    assert_equal(DPO(DPOConfig(beta=0.3)), our_batch(layout, rows, reference), theirs, trainer.model)


def labelled_rows(batch: dict[str, torch.Tensor]) -> list[tuple[list[int], list[int]]]:
    """Rows of TRL's batches that mark the prompt by labels of -100."""
    rows = []
    for kind in ("chosen", "rejected"):
        for ids, mask, labels in zip(
            batch[f"{kind}_input_ids"], batch[f"{kind}_attention_mask"], batch[f"{kind}_labels"], strict=True
        ):
            seen = zip(ids.tolist(), mask.tolist(), labels.tolist(), strict=True)
            prompt = [t for t, m, n in seen if m and n == -100]
            rows.append((prompt, [t for t, n in zip(ids.tolist(), labels.tolist(), strict=True) if n != -100]))
    return rows


def test_simpo(model, tiny_model, tmp_path, layout):
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    trainer = CPOTrainer(
        model=model,
        args=CPOConfig(**options(tmp_path), loss_type="simpo", cpo_alpha=0.0, beta=2.5, simpo_gamma=1.0),
        train_dataset=Dataset.from_list(PAIRS),
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
    )
    moved(trainer.model).eval()
    batch = next(iter(trainer.get_train_dataloader()))
    theirs, _ = trainer.get_batch_loss_metrics(trainer.model, batch)
    method = SimPO(SimPOConfig(beta=2.5, gamma=1.0))
    assert_equal(method, our_batch(layout, labelled_rows(batch)), theirs, trainer.model)


def test_orpo(model, tiny_model, tmp_path, layout):
    from trl.experimental.orpo import ORPOConfig as Theirs
    from trl.experimental.orpo import ORPOTrainer

    trainer = ORPOTrainer(
        model=model,
        args=Theirs(**options(tmp_path), beta=0.4),
        train_dataset=Dataset.from_list(PAIRS),
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
    )
    moved(trainer.model).eval()
    batch = next(iter(trainer.get_train_dataloader()))
    theirs, _ = trainer.get_batch_loss_metrics(trainer.model, batch)
    assert_equal(
        ORPO(ORPOConfig(weight=0.4, likelihood="all")), our_batch(layout, labelled_rows(batch)), theirs, trainer.model
    )


@pytest.mark.parametrize("towards", ["negative", "positive"], ids=["kl-below-0", "kl-above-0"])
def test_kto(model, tiny_model, tmp_path, layout, towards):
    """On either side of the clamp of the KL term."""
    from trl import KTOConfig as Theirs
    from trl import KTOTrainer

    unpaired = [
        {"prompt": p["prompt"], "completion": p[k], "label": k == "chosen"}
        for k in ("chosen", "rejected")
        for p in PAIRS
    ]
    trainer = KTOTrainer(
        model=model,
        args=Theirs(
            **options(tmp_path) | {"per_device_train_batch_size": len(unpaired)},
            beta=0.3,
            desirable_weight=1.3,
            undesirable_weight=0.7,
        ),
        train_dataset=Dataset.from_list(unpaired),
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    rows, others = masked_rows(batch), masked_rows(batch, "KL_")
    assert [prompt for prompt, _ in rows] == [prompt for prompt, _ in others]
    assert all(own != other for (_, own), (_, other) in zip(rows, others, strict=True))
    moved(trainer.model).eval()
    if towards == "positive":
        climb(trainer.model, our_batch(layout, others))
    theirs = trainer.compute_loss(trainer.model, batch)
    kl = trainer._metrics["eval"]["kl"][-1]
    assert (kl > 0.1) if towards == "positive" else (kl == 0)
    with torch.no_grad():
        reference, elsewhere = (
            score(trainer.ref_model.eval(), our_batch(layout, some)).logprob for some in (rows, others)
        )
    ours = our_batch(layout, rows, reference) | {"mismatched": our_batch(layout, others, elsewhere)}
    assert batch["label"].tolist() == ours["positive"].tolist()
    method = KTO(KTOConfig(beta=0.3, desirable_weight=1.3, undesirable_weight=0.7))
    assert_equal(method, ours, theirs, trainer.model)


def climb(model: Any, batch: dict[str, Any]) -> None:
    """Make the batch's texts likelier than they were."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.001)
    for _ in range(3):
        optimiser.zero_grad()
        (-score(model, batch).logprob.mean()).backward()
        optimiser.step()
