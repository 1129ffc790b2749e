"""The log on its way to others: in their formats, over their protocols, at least once."""
