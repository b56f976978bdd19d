"""Scorers: text to attribute scores in [0, 1]."""
