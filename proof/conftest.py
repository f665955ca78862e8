"""The database of the tests, for what is tested of the proof itself."""

from tests.conftest import database_url, db, postgres, template

__all__ = ["database_url", "db", "postgres", "template"]
