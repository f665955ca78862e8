"""Begin, go on with and end a session."""
