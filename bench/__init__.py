"""The harness: which way of editing a language model helps, at what cost, and is the difference real?"""

__version__ = "0.1.0"
