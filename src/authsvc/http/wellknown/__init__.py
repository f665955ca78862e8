"""Public documents: keys, metadata, revocations."""
