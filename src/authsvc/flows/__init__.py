"""What the service does, one module per verb. No SQL text, no status codes, no clock."""
