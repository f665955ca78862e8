"""
F16, F17, F28: keys come, go, break and leak while clients refresh at two replicas.

Everything is shortened in one proportion: replicas re-read their keys every half second instead
of every 15, and a key is published 3 s before it signs instead of 16 minutes. Every access token
is then tried on every JWKS that a verifier may hold; `key_schedule` does it in full length.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from random import Random

from authsvc.keys import rotation
from authsvc.keys.key_files import KeyKind
from proof.experiment import Findings, Stage
from proof.key_events import EVENTS
from proof.key_scene import RELOAD, Scene, scene_of


class KeyRotation:
    """One event after the other, in an order of chance."""

    name = "F16-F17-F28-keys-under-load"
    promise = (
        "Keys are rotated, pruned, revoked, damaged and missing on one replica while clients "
        "refresh: nobody is logged out, every token verifies with any JWKS a verifier may hold, "
        "a revoked key is refused everywhere after one reading, bad files are reported."
    )
    unit = "key events"
    goal = 2_000
    batch = 16

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """As many events."""
        async with scene_of(stage, random) as scene:
            order: list[Callable[[Scene], Awaitable[None]]] = []
            while scene.findings.done < units:
                if not order:
                    order = [event for event, weight in EVENTS.items() for _ in range(weight)]
                    random.shuffle(order)
                event = order.pop()
                await event(scene)
                scene.findings.counted[event.__name__] += 1
                scene.findings.done += 1
        return scene.findings

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """`authsvc keys add --now`: verifiers with a copy refuse, and the replicas say so."""
        async with scene_of(stage, random) as scene:
            await scene.work(1.0)
            before = scene.problems()
            rotation.add_now(scene.keys, KeyKind.SIGNING, now=datetime.now(UTC))
            await scene.work(2 * RELOAD)
            said = scene.problems() > before
        return scene.findings if said else Findings()


EXPERIMENTS = (KeyRotation(),)
