"""What happened, kept so that it can be asked for: events, the log that writes them, the store with them."""
