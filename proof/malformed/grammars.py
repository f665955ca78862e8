"""All grammars by name, with how often each gets its turn."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from proof.malformed.access_tokens import access_token
from proof.malformed.attempt import Attempt, World
from proof.malformed.bodies import json_body
from proof.malformed.forms import form
from proof.malformed.framing import framing
from proof.malformed.heads import cookie, header, target
from proof.malformed.refresh_tokens import refresh_token

Grammar = Callable[[World, Random], Attempt]

GRAMMARS: dict[str, tuple[Grammar, int]] = {
    "refresh token": (refresh_token, 30),
    "access token": (access_token, 25),
    "JSON body": (json_body, 18),
    "form": (form, 14),
    "header": (header, 9),
    "cookie": (cookie, 7),
    "target": (target, 7),
    "framing": (framing, 4),
}


def malformed_requests(world: World, random: Random, count: int) -> list[Attempt]:
    """`count` requests of all grammars."""
    makers = [maker for maker, _ in GRAMMARS.values()]
    weights = [weight for _, weight in GRAMMARS.values()]
    return [maker(world, random) for maker in random.choices(makers, weights, k=count)]
