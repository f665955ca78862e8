"""HTTP fetches of client-supplied URLs, guarded against SSRF; no SQL, no framework."""
