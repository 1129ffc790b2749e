"""How the databases are opened that the audit and the directory share."""
