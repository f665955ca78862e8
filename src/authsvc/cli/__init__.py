"""The `authsvc` command, one module per noun."""
