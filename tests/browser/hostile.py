"""Texts that try to be more than text."""

LONG = 10_000_000
"""Characters of the longest text in the hostile page."""
TEXTS = [
    "</script><script>window.__pwned = 1; alert(1)</script>",
    '"><img src=x onerror="window.__pwned = 1"><svg onload="window.__pwned = 1">',
    "<!-- <script> --!> {{7*7}} ${window.__pwned = 1} javascript:alert(1)",
    "\x1b[31mred\x1b]0;title\x07 nul \x00 \x9b",
    "\u202eabc\u2066 \u200f\u2028 half \ud800",
    "שלום العربية",
    "W" * 3000,
    "y\u0316" + "\u0316\u0301" * 300,
]
