"""What the operator wrote, and the providers the world has: policy files, conditions, catalogue."""
