"""HTML pages and what they need."""
