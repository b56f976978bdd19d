"""A policy as a language model of lm-eval."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from bench.engine.batching import BATCH_BUDGET, in_batches
from bench.engine.chat import conversation_text
from bench.engine.generation import continue_rows, encode_prompt, left_to, text_after
from bench.engine.sampling import likeliest, sample, uniforms
from bench.engine.stops import StopTexts
from bench.engine.tokens import encode, first_token
from bench.errors import UsageError
from bench.hashing import hash_text
from bench.policy import Policy
from bench.spec import Decoding
from bench.tasks.likelihoods import likelihoods

if TYPE_CHECKING:
    from bench.tasks.context import TaskContext


_FEWER = "lower it in the task's YAML (generation_kwargs: {max_gen_toks: N}), or leave the task out"


class PolicyLM(TemplateLM):  # type: ignore[misc]  # lm-eval is untyped
    """Answers lm-eval's requests through the engine, so that every kind of method is scored alike."""

    def __init__(self, policy: Policy, ctx: "TaskContext", label: str) -> None:
        """Take the policy, and the context for its seed and progress."""
        super().__init__()
        self.policy, self.ctx, self.label = policy, ctx, label
        self._repeat: list[int] = []
        self.tokenizer: Any = policy.tokenizer

    @property
    def eot_token_id(self) -> int:
        """The end token."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text with nothing before it: the begin token, or the end token."""
        return first_token(self.tokenizer)

    @property
    def tokenizer_name(self) -> str:
        """The tokenizer's name, for lm-eval's own caches."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Tokens of a text; with the tokenizer's own special tokens unless told otherwise, as lm-eval's HFLM does.

        What the tokenizer puts after a text is left out: a continuation would be read after the end.
        """
        del kwargs
        if add_special_tokens is False:
            return list(self.tokenizer(string, add_special_tokens=False)["input_ids"])
        return encode(self.tokenizer, string)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """A conversation as the tokenizer's template writes it."""
        return conversation_text(self.tokenizer, chat_history, opens=add_generation_prompt)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Log-likelihoods of continuations, and whether they are greedy; our own bar takes the place of lm-eval's."""
        del disable_tqdm
        scored: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return scored

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        del kwargs
        if lost := sum(not text for _, _, text in requests):  # with nothing to read it would be certain, and always win
            what = f"{lost} of {len(requests)} options have no token of their own after their context"
            raise UsageError(
                f"lm-eval's task '{self.label}': {what}",
                mend="end the context at a word, and let each option begin with a space (target_delimiter: ' ')",
            )
        asked = [(context, text) for _, context, text in requests]
        scored = likelihoods(self.label, self.policy, asked, self.ctx, "requests")
        self.ctx.tokens += sum(len(context) + len(text) for _, context, text in requests)
        return [(one.logprob, one.greedy) for one in scored]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Log-likelihood of whole texts, in windows as long as the model allows."""
        del disable_tqdm
        windows, owners = [], []
        for number, request in enumerate(requests):
            for window in get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.policy.max_length,
                context_len=1,
            ):
                windows.append((("", ""), *make_disjoint_window(window)))
                owners.append(number)
        totals = [0.0] * len(requests)
        for number, (logprob, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            totals[number] += logprob
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Continuations up to a stop text: greedy, or sampled where the task asks for it."""
        del disable_tqdm
        answers: dict[int, str] = {}
        self._repeat = repeats_of([request.args[0] for request in requests])
        prepared = [(number, *self._prepare(request)) for number, request in enumerate(requests)]
        kinds = {str(options): options for _, _, options in prepared}
        with self.ctx.progress.bar(self.label, len(requests), "requests") as bar:
            for key, options in kinds.items():
                mine = [(number, ids) for number, ids, own in prepared if str(own) == key]
                length = options["max_gen_toks"]
                answer = partial(self._generate, requests, options)
                room = BATCH_BUDGET.room(self.policy.readings)
                for batch, texts in in_batches(mine, answer, partial(_length, length), lambda _: 1, most=room):
                    answers.update(zip([number for number, _ in batch], texts, strict=True))
                    bar.advance(len(batch))
        return [answers[number] for number in range(len(requests))]

    def _prepare(self, request: Instance) -> tuple[list[int], dict[str, Any]]:
        """Tokens of the context, cut on the left to leave room for the answer, and the options of decoding."""
        context, given = request.args
        options = options_of(given, eos=self.tokenizer.decode([self.eot_token_id]))
        return encode_prompt(self.policy, context, options["max_gen_toks"], _FEWER), options

    def _generate(
        self, requests: list[Instance], options: dict[str, Any], batch: list[tuple[int, list[int]]]
    ) -> list[str]:
        length, until, decoding = options["max_gen_toks"], options["until"], decoding_of(options)
        decoding = decoding and left_to(self.policy, decoding)
        noise = torch.from_numpy(
            np.stack(
                [uniforms(self.ctx.seed, hash_text(requests[n].args[0]), self._repeat[n], length) for n, _ in batch]
            )
        ).to(self.policy.device)

        def pick(logits: torch.Tensor, active: torch.Tensor, step: int) -> torch.Tensor:
            return likeliest(logits) if decoding is None else sample(logits, noise[active, step], decoding)

        ends, may_hold = self.policy.end_tokens, StopTexts(self.tokenizer, until)

        def stop(row: int, tokens: list[int]) -> bool:
            del row
            if tokens[-1] in ends or not may_hold(tokens):
                return tokens[-1] in ends
            whole = self.tokenizer.decode(tokens)
            return any(text in whole for text in until)

        rows = continue_rows(self.policy, [ids for _, ids in batch], 1, length, pick, stop, sampling=True)
        self.ctx.tokens += sum(map(len, rows))
        texts = [text_after(self.policy, ids, row) for (_, ids), row in zip(batch, rows, strict=True)]
        return [cut(text, until) for text in texts]


def options_of(given: Mapping[str, Any], *, eos: str | None) -> dict[str, Any]:
    """A request's options: `max_gen_toks`, `until` (the texts that end an answer, `eos` among them), and its own."""
    options = dict(normalize_gen_kwargs(dict(given), 256))
    options["until"] = [text for text in handle_stop_sequences(options.get("until"), eos=eos) if text]
    return options


def decoding_of(options: Mapping[str, Any]) -> Decoding | None:
    """How a request is sampled; None for the likeliest tokens."""
    if not (options.get("do_sample") and options.get("temperature", 1.0) > 0):
        return None
    return Decoding(
        max_new_tokens=options["max_gen_toks"],
        temperature=options.get("temperature", 1.0),
        top_p=options.get("top_p", 1.0),
        top_k=options.get("top_k", 0),
    )


def repeats_of(contexts: Sequence[str]) -> list[int]:
    """How often each context has come before: repeats of a request are samples of their own."""
    seen: dict[str, int] = {}
    numbers = []
    for context in contexts:
        numbers.append(seen.get(context, 0))
        seen[context] = numbers[-1] + 1
    return numbers


def _length(new: int, item: tuple[int, list[int]]) -> int:
    """Tokens of a row once it is answered."""
    return len(item[1]) + new


def cut(text: str, until: Sequence[str]) -> str:
    """What stands before the first stop text."""
    return text[: min((place for place in map(text.find, until) if place >= 0), default=len(text))]
