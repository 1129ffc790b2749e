"""Who is who: people, tenants, keys, approvals and kill switches, in a database and in memory."""
