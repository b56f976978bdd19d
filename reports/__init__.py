"""Reports: from records to tables, figures, comparisons and gates; no model is needed."""
