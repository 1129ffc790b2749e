"""Bearer tokens of people: JSON Web Tokens (RFC 7519), signed, never encrypted."""
