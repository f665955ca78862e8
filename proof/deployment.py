"""Several processes of the real service on one database and one key directory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

from proof.experiment import Stage
from proof.zygote import Zygote
from tests.support.live import free_port


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where its database is, and the port of each process."""

    url: str
    ports: tuple[int, ...]


@asynccontextmanager
async def deployed(
    stage: Stage,
    processes: int,
    *,
    settings: dict[str, str] | None = None,
    plant: str | None = None,
) -> AsyncIterator[Deployment]:
    """
    Start so many processes, and end them.

    Args:
        plant: `module:function`, called in each before it serves: a planted bug.
    """
    async with stage.database() as url:
        with ExitStack() as stack:
            place = stack.enter_context(stage.place())
            zygote = stack.enter_context(Zygote(place, plant=plant))
            services = [zygote.spawn(free_port(), url, settings) for _ in range(processes)]
            for service in services:
                await service.ready()
            yield Deployment(url, tuple(service.port for service in services))
