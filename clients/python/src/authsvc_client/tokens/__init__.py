"""Tokens that authsvc signs, read and verified: pure functions and frozen values, without I/O."""
