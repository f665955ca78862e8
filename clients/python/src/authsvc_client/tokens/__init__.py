"""What authsvc signs, as everybody reads it: pure functions and frozen values, without I/O."""
