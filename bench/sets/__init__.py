"""Contrastive sets: an anchor (prompt) with its positives and negatives; format, loading, self-generation, splits."""

from bench.sets.format import ContrastiveSet, ContrastiveSets, Text, load_sets, save_sets, sets_text

__all__ = ["ContrastiveSet", "ContrastiveSets", "Text", "load_sets", "save_sets", "sets_text"]
