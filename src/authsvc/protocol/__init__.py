"""What the RFCs say: pure functions and frozen dataclasses, without I/O, clock or settings."""
