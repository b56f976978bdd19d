"""Sampling by vLLM on a CUDA device, for policies that are one set of weights; all else goes through the policy itself.

Its samples are draws from the same distribution, from random streams of its own: one a (prompt, sample), too.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch

from bench.engine.export import export, not_writable
from bench.engine.processes import gpu_sharers
from bench.errors import MissingError, UsageError
from bench.method import Method
from bench.policy import HFPolicy, Policy
from bench.spec import Decoding
from bench.store.leftovers import sweep_beside
from bench.store.temporary import affixes

BATCH_TOKENS = 1 << 20
"""Tokens sampled between two reports: vLLM makes its own batches of them."""
_SHARE_OF_FREE = 0.9  # of the memory that is free beside the base model
_LOWEST = 0.01  # temperature that vLLM samples at: it raises one below, and takes the likeliest token below 0.00001
_MEND = "--set suite.engine=transformers"


class VLLMPolicy(HFPolicy):
    """A policy whose continuations are sampled by vLLM from its exported weights."""

    def __init__(self, policy: HFPolicy, dtype: str, folder: Path) -> None:
        """Export the weights.

        Args:
            policy: What is sampled from; it is also what reads.
            dtype: Of vLLM's arithmetic, by its name in torch.
            folder: Where the weights are written.
        """
        super().__init__(policy.model, policy.tokenizer)
        self.dtype, self.folder = dtype, folder
        export(policy, folder)
        self._llm: Any = None
        self._room = 0

    def sample(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], decoding: Decoding) -> list[list[int]]:
        """Continue each prompt once.

        Args:
            prompts: Their tokens.
            seeds: Of each one's random stream.
            decoding: How; `num_samples` is not used.

        Returns:
            The new tokens of each, the end token included where the model ended the text.

        Raises:
            UsageError: vLLM would sample otherwise.
        """
        refuse_changed(decoding)
        from vllm import SamplingParams

        ends = sorted(self.end_tokens)
        asked = [
            SamplingParams(
                temperature=decoding.temperature,
                top_p=decoding.top_p,
                top_k=decoding.top_k,
                max_tokens=decoding.max_new_tokens,
                seed=seed % (1 << 63),
                stop_token_ids=ends,
                ignore_eos=True,  # these tokens alone end a text, as in the project's own engine
                detokenize=False,
            )
            for seed in seeds
        ]
        longest = max(map(len, prompts)) + decoding.max_new_tokens
        outputs = self._engine(longest).generate(
            [{"prompt_token_ids": list(prompt)} for prompt in prompts], asked, use_tqdm=False
        )
        return [_tokens(output.outputs[0], ends) for output in outputs]

    def _engine(self, room: int) -> Any:
        """An engine of vLLM with room for sequences of so many tokens, made when it is first asked for."""
        if room > self._room:
            from vllm import LLM

            self.close()
            free, total = torch.cuda.mem_get_info()
            self._llm, self._room = (
                LLM(
                    model=str(self.folder),
                    dtype=self.dtype,
                    max_model_len=room,
                    gpu_memory_utilization=_SHARE_OF_FREE * free / total / gpu_sharers(),
                    generation_config="vllm",  # no defaults out of the model's folder
                    trust_remote_code=False,
                    disable_log_stats=True,
                ),
                room,
            )
        return self._llm

    def close(self) -> None:
        """End vLLM's engine, which is a process of its own, and give its memory back."""
        if self._llm is not None:
            self._llm.llm_engine.engine_core.shutdown()
        self._llm, self._room = None, 0


def _tokens(output: Any, ends: Sequence[int]) -> list[int]:
    """The tokens of an output, with the one that ended it."""
    row = list(output.token_ids)
    if output.finish_reason != "stop" or (row and row[-1] in ends):
        return row
    ended = getattr(output, "stop_reason", None)  # the token, where vLLM names it
    return [*row, ended if ended in ends else ends[0]]


@contextmanager
def sampled_by_vllm(policy: Policy, dtype: str) -> Iterator[VLLMPolicy]:
    """Yield a policy as one that vLLM samples from.

    Raises:
        UsageError: it is not one set of weights.
    """
    if reason := not_writable(policy):
        raise UsageError(f"vLLM cannot run this policy: {reason}", mend=_MEND)
    # As large as the model: named so that one that a killed process left is found.
    place = Path(tempfile.gettempdir()) / "bench-vllm"
    sweep_beside(place)
    prefix, suffix = affixes(place)
    with tempfile.TemporaryDirectory(suffix, prefix) as folder:
        made = VLLMPolicy(cast("HFPolicy", policy), dtype, Path(folder))
        try:
            yield made
        finally:
            made.close()


def refuse_changed(decoding: Decoding) -> None:
    """Refuse what vLLM would silently change.

    Raises:
        UsageError: it does not sample at so low a temperature.
    """
    if decoding.temperature < _LOWEST:
        what = (
            f"vLLM does not sample at a temperature of {decoding.temperature:g}: it takes {_LOWEST:g} or the likeliest"
        )
        raise UsageError(what, mend=f"--set suite.decoding.top_k=1 for the likeliest tokens, or {_MEND}")


def check_vllm(method: Method[Any], base: Path, decoding: Decoding) -> None:
    """Find out before any work whether vLLM can run here, and a method's policy by it, as a suite samples.

    Args:
        method: The method.
        base: The base model's folder.
        decoding: How continuations are sampled.

    Raises:
        MissingError: vLLM or a CUDA device is missing.
        UsageError: the method's policy is not one set of weights, or vLLM would sample otherwise.
    """
    refuse_changed(decoding)
    if reason := method.not_exportable(base):
        raise UsageError(f"vLLM cannot run '{method.info.name}': {reason}", mend=_MEND)
    lacks = "no vllm" if find_spec("vllm") is None else None if torch.cuda.is_available() else "no CUDA device"
    if lacks:
        raise MissingError(
            f"engine = vllm needs a CUDA device and vllm, and this machine has {lacks}",
            mend=f"{_MEND}, or pip install 'contrastive-bench[vllm]' on such a machine",
        )
