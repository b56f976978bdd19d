"""Editing facts in weights: where a fact is read, keys and values there, the closed forms that change them."""
