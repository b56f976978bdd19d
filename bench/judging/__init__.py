"""A language model as a judge: verdicts on pairs of texts, and what follows from many of them."""
