"""What a call costs: tokens of texts before it leaves, money for what the provider reports."""
