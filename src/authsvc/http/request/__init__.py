"""What endpoints read of a request, each thing in one place."""
