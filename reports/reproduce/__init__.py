"""A paper's tables and figures made anew from records, beside what the paper printed."""
