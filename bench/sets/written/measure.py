"""What is measured of a candidate: toxicity, likeness to its sentence, length, language, perplexity."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.data.languages import language_of
from bench.sets.written.filters import Candidate, trained_text
from bench.words import bare_words, words

if TYPE_CHECKING:
    from bench.engine.encoder import SentenceEncoder
    from bench.policy import Policy
    from bench.scorers.checked import CheckedScorer


class Meter:
    """Measures candidates in place."""

    def __init__(
        self, scorer: "CheckedScorer", encoder: "SentenceEncoder | None", policy: "Policy | None", *, conditioned: bool
    ) -> None:
        """Take the models.

        Args:
            scorer: Of toxicity, or of another attribute of which low scores are wanted: its main one counts.
            encoder: Of sentences, or None: no similarity.
            policy: Whose log-perplexity is measured, or None.
            conditioned: Whether a text is read after its sentence, and not alone.
        """
        from rouge_score.rouge_scorer import RougeScorer

        self._scorer, self._encoder, self._policy, self._conditioned = scorer, encoder, policy, conditioned
        self._rouge = RougeScorer(["rougeL"], tokenizer=_Words)

    def measure(self, rows: Sequence[Candidate]) -> None:
        """Fill in what is measured. A candidate without a text keeps nulls, and so does a score that fails."""
        written = [row for row in rows if row["text"] and row["text"].strip()]
        texts, sentences = [row["text"] for row in written], [row["sentence"] for row in written]
        scores = self._scorer.score(texts)
        likeness = self._encoder.similarity(texts, sentences) if self._encoder else [None] * len(texts)
        perplexities = self._log_perplexities(written)
        for row, score, similarity, phi in zip(written, scores, likeness, perplexities, strict=True):
            row["toxicity"] = score[self._scorer.identity.attributes[0]] if score else None
            row["similarity"] = similarity
            row["log_perplexity"] = phi
            row["rouge_l"] = self._rouge.score(row["sentence"], row["text"])["rougeL"].fmeasure
            row["length_ratio"] = len(words(row["text"])) / max(1, len(words(row["sentence"])))
            row["language"] = language_of(row["text"])

    def _log_perplexities(self, rows: Sequence[Candidate]) -> Sequence[float | None]:
        if self._policy is None:
            return [None] * len(rows)
        conditioned = self._conditioned
        pairs = [
            (row["sentence"] if conditioned else "", trained_text(row["text"], conditioned=conditioned)) for row in rows
        ]
        from bench.engine.perplexity import log_perplexities

        return log_perplexities(self._policy, pairs)


class _Words:
    """ROUGE's words: of any script, where its own tokenizer knows a to z alone."""

    @staticmethod
    def tokenize(text: str) -> list[str]:
        return bare_words(text.casefold())
