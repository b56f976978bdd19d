"""What a causal language model answers first: the probabilities of some labels at the next token, as one score."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.policy import Policy

AT_ONCE = 8
"""Texts of a batch: a prompt around a text may be long."""
_UNSEEN = "\N{ZERO WIDTH SPACE}"


class FirstAnswer:
    """Reads a score off the first token of an answer.

    The probabilities of the labels' first tokens are divided by their sum; the score is the mean of the labels' values
    by them. So with the values 1 and 0 it is the softmax of two logits.
    """

    def __init__(
        self,
        policy: "Policy",
        render: Callable[[str], str],
        values: Mapping[str, float],
        least: float,
        *,
        is_whole: bool,
    ) -> None:
        """Find the labels' tokens.

        Args:
            policy: The model.
            render: From a text to all that stands before the label.
            values: The value of each label in [0, 1]; a label begins with a space where a word would.
            least: The probability that the labels must have together: below it, the model does not answer in this form,
                and the text has no score.
            is_whole: Whether what `render` gives has its begin token already, as chat templates write it.

        Raises:
            UsageError: two labels begin with the same token, or the prompt leaves no room for a text.
        """
        from bench.engine.tokens import encode_after

        self._policy, self._render, self._least, self._is_whole = policy, render, least, is_whole
        added = {str(one) for one in policy.tokenizer.added_tokens_decoder.values() if one.special}
        self._marks = sorted({*added, *map(str, policy.tokenizer.all_special_tokens)}, key=len, reverse=True)
        before = render("")
        first = {label: encode_after(policy.tokenizer, before, label)[1][0] for label in values}
        if len(set(first.values())) < len(first):
            raise UsageError(
                f"the model's tokenizer does not tell the labels {', '.join(values)} apart by their first token",
                mend="give other labels, or another model",
            )
        if (own := len(self._encoded(before))) >= policy.max_length:
            raise UsageError(
                f"the prompt has {own} tokens without a text, and the model reads {policy.max_length}",
                mend="give a shorter template, or another model",
            )
        self._room = policy.max_length - own
        self.tokens, self._values = list(first.values()), list(values.values())

    def scores(self, texts: Sequence[str]) -> list[float | None]:
        """The score of each text; None where the labels are no answer of the model's."""
        import torch

        from bench.engine.batching import pad

        if not texts:
            return []
        rows = [self.prompt(text) for text in texts]
        ids, mask = pad(rows, 0, "left", self._policy.device)
        logits, _ = self._policy.forward(ids, mask, logits_to_keep=1)
        every = logits[:, -1].double().softmax(-1)[:, self.tokens].cpu()
        mass = every.sum(-1)
        expected = every @ torch.tensor(self._values, dtype=torch.float64) / mass
        # Rounding may push a mean just outside [0, 1]. Where the labels have no probability, there is no mean.
        return [
            min(max(score, 0.0), 1.0) if together > 0 and together >= self._least else None
            for score, together in zip(expected.tolist(), mass.tolist(), strict=True)
        ]

    def prompt(self, text: str) -> list[int]:
        """Tokens of all that stands before the label; of a text that is too long, the beginning."""
        whole = self._encoded(self._render(self._plain(text)))
        room, tokenizer = self._room, self._policy.tokenizer
        while len(whole) > self._policy.max_length and room > 0:  # cut elsewhere, a text may have a token more
            kept = tokenizer(self._plain(text), add_special_tokens=False)["input_ids"][:room]
            whole = self._encoded(self._render(str(tokenizer.decode(kept, skip_special_tokens=True))))
            room -= max(1, len(whole) - self._policy.max_length)
        return whole

    def _encoded(self, text: str) -> list[int]:
        from bench.engine.tokens import encode

        if self._is_whole:
            return list(self._policy.tokenizer(text, add_special_tokens=False)["input_ids"])
        return encode(self._policy.tokenizer, text)

    def _plain(self, text: str) -> str:
        """A text that is not read as the prompt's own markup, though it spells out a special token."""
        for mark in self._marks:
            text = text.replace(mark, mark[0] + _UNSEEN + mark[1:])
        return text
