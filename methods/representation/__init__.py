"""Hidden states shared by every method that reads or edits them: decoder layers, hooks, states of the sets' texts."""
