"""FastAPI: parse, call one flow, render. One file per endpoint."""
