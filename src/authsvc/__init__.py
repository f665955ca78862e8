"""authsvc: one small, trustworthy auth server."""
