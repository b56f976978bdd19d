"""Models and data: by hub id, by local path, or from a file in a wheel; checked and cached."""
