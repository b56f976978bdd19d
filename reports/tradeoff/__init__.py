"""What an edit costs: curves along a strength, fronts, the best point within a budget."""
