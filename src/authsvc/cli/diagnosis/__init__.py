"""What `authsvc doctor` looks at, one module per area; nothing here changes anything."""
