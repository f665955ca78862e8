"""Two processes of the real service on one database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.live import serving


@pytest.fixture
async def replicas(database_url: str, tmp_path: Path) -> AsyncIterator[list[int]]:
    """The ports of the processes; a user is registered."""
    async with serving(database_url, tmp_path) as ports:
        yield ports
