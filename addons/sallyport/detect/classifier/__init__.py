"""A small trained model that gives, for a text and its surface, the probability of a planted instruction."""
