"""Generation and likelihood over any policy."""
