"""The endpoints of clients (RFC 6749, 7009, 7662)."""
