"""The page: one HTML file with the tables, the figures, where the runs come from, and a reader for their samples."""
