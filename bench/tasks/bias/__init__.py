"""Bias: which of two statements about people does the model find likelier?"""
