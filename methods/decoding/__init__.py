"""Policies made of several models, or of one model read in several ways, for methods that edit while decoding."""
