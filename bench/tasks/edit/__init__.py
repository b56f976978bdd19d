"""Edits of single facts: are they made, do they carry over, and what else do they change?"""
