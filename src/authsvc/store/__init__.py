"""PostgreSQL: one function is one statement."""
