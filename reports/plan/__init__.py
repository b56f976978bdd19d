"""What an experiment can tell before it is run, and what it costs."""
