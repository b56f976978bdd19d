"""Tasks: each measures a policy, with the evidence of every figure."""
