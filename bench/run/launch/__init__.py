"""Carry out many experiments."""
