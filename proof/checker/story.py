"""Histories written by hand, one operation after another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from proof.history import Operation


@dataclass
class Story:
    """Writes a history down; each operation takes 10 ms and begins 10 ms after the last."""

    operations: list[Operation] = field(default_factory=list)
    now: float = 0.0

    def add(
        self,
        name: str,
        outcome: str = "ok",
        *,
        family: str | None = "f",
        at: float | None = None,
        lasts: float = 0.01,
        result: dict[str, Any] | None = None,
        **value: Any,
    ) -> Story:
        invoked = self.now if at is None else at
        self.now = max(self.now, invoked + lasts + 0.01)
        refused = {"status": 401, "code": "refused"} if outcome == "err" else {}
        self.operations.append(
            Operation(
                process=f"p{len(self.operations)}",
                operation=name,
                outcome=outcome,  # type: ignore[arg-type]  # stories spell them out
                invoked=invoked,
                returned=invoked + lasts,
                family=family,
                user="u",
                value=value,
                result=refused if result is None else result,
            )
        )
        return self

    def login(
        self, outcome: str = "ok", *, family: str = "f", password: int = 0, **when: Any
    ) -> Story:
        result = {"token": f"{family}0", "generation": 0} if outcome == "ok" else None
        return self.add(
            "login",
            outcome,
            family=family if outcome == "ok" else None,
            result=result,
            password=password,
            delivery="native",
            **when,
        )

    def refresh(
        self,
        generation: int,
        how: str = "rotated",
        *,
        family: str = "f",
        key: str | None = None,
        delivery: str = "native",
        to: int | None = None,
        token: str | None = None,
        whose: dict[str, str] | None = None,
        **when: Any,
    ) -> Story:
        """`how` may also be `err` or `info`."""
        result: dict[str, Any] | None = None
        if how in {"rotated", "replayed", "kept"}:
            successor = to if to is not None else generation + (how != "kept")
            result = {
                "how": how,
                "generation": successor,
                "token": token or f"{family}{successor}",
                **(whose or {}),
            }
        return self.add(
            "refresh",
            "ok" if result else how,
            family=family,
            result=result,
            token=f"{family}{generation}",
            generation=generation,
            key=key,
            delivery=delivery,
            **when,
        )

    def me(self, outcome: str = "ok", **when: Any) -> Story:
        return self.add("me", outcome, **when)

    def logout(self, scope: str = "session", outcome: str = "ok", **when: Any) -> Story:
        return self.add("logout", outcome, scope=scope, **when)

    def disable(self, outcome: str = "ok", **when: Any) -> Story:
        return self.add("disable", outcome, family=None, **when)

    def enable(self, outcome: str = "ok", **when: Any) -> Story:
        return self.add("enable", outcome, family=None, **when)

    def change_password(self, version: int, outcome: str = "ok", **when: Any) -> Story:
        return self.add("password_change", outcome, password=version, **when)

    def later(self, seconds: float) -> Story:
        self.now += seconds
        return self
