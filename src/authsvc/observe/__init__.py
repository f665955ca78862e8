"""Logs, redaction and counters: ground that everybody may stand on."""
