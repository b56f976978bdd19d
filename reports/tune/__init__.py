"""What a search of settings found: each method's trials, its Pareto front, and what is chosen of them."""
