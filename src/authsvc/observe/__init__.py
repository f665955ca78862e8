"""Logs, redaction and metrics, which every room may import."""
