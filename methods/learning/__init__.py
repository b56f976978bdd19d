"""Training shared by every method that learns an adapter: the same batches, LoRA shape and budget, a loss each.

A training item is one anchor with the positives and negatives drawn for it. Which items a run trains on, and in what
order, is decided beforehand from the seed alone, so that one process and several see the same global batches.
"""
