"""Records as a table: columns, rows, layouts, forms."""
