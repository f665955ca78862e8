"""Secret material and the CPU it costs. Knows nothing of SQL or HTTP."""
