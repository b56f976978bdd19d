"""Carry out many cells."""
