"""What stays of a run: schema, atomic files, keys."""
