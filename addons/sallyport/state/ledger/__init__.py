"""The ledger's stores: memory (one process), SQLite (one host), Redis or Valkey (several hosts)."""
