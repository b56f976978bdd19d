"""Tasks of lm-evaluation-harness, on any policy, and the embedded commonsense and reading tasks in its form."""
