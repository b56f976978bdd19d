"""Texts that end a continuation, looked for at its end alone."""

from collections.abc import Iterable, Sequence

from transformers import PreTrainedTokenizerBase

_BYTES = 4
"""Of a character in UTF-8, at most; and a token that says anything at all says one byte at least."""
_SEAM = 4
"""Tokens more: some tokenizers leave out the space that a text begins with, or join it to a neighbour."""


class StopTexts:
    """Whether the last token of a row may have completed one of some texts.

    Reading a whole row at each of its tokens takes time that grows with the square of its length. Its last tokens,
    as many as the longest of the texts can have, say almost always that there is none; else the whole row has to be
    read, as it may hold nothing but blanks before them, which are not counted by all who ask.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> None:
        """Take the tokenizer and the texts."""
        self._tokenizer, self._texts = tokenizer, [text for text in texts if text]
        self._silent = frozenset(tokenizer.all_special_ids)  # they may say nothing
        self._tail = _BYTES * max(map(len, self._texts), default=0) + _SEAM

    def __call__(self, row: Sequence[int]) -> bool:
        """Whether the whole row is to be read."""
        if not self._texts:
            return False
        last = list(row[-self._tail :])
        if self._holds(last):
            return True
        return not self._silent.isdisjoint(last) and self._holds(
            [token for token in row if token not in self._silent][-self._tail :]
        )

    def _holds(self, tokens: Sequence[int]) -> bool:
        said = self._tokenizer.decode(list(tokens))
        return any(text in said for text in self._texts)
