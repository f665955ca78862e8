"""The refresh rules as a pure function: CONTRACT §5.3, rules 2 to 6."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from authsvc.protocol.refresh import Delivery, FamilyState, RefreshToken, Verdict, verdict

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
WINDOW = timedelta(seconds=10)
MINE, OTHER = b"m" * 32, b"o" * 32
LONG_AGO = NOW - timedelta(hours=3)
A_MOMENT_AGO = NOW - timedelta(seconds=9, milliseconds=999)

FAMILY = FamilyState(
    generation=5,
    rotated_at=LONG_AGO,
    attempt_digest=OTHER,
    idle_expires_at=NOW + timedelta(days=1),
    absolute_expires_at=NOW + timedelta(days=9),
    revoked_at=None,
    user_disabled_at=None,
)
JUST_ROTATED = replace(FAMILY, rotated_at=A_MOMENT_AGO)
SAME_KEY = replace(FAMILY, attempt_digest=MINE)
SPA, NATIVE, WEB = Delivery.SPA, Delivery.NATIVE, Delivery.WEB


def decide(
    family: FamilyState,
    generation: int,
    delivery: Delivery,
    window: timedelta = WINDOW,
    now: datetime = NOW,
) -> Verdict:
    token = RefreshToken(
        mac_key_id=b"k" * 8, family_id=uuid4(), generation=generation, delivery=delivery
    )
    return verdict(family, token, attempt_digest=MINE, retry_window=window, now=now)


@pytest.mark.requirement("R1", "R6")
def test_what_was_overtaken_while_it_waited_is_no_reuse() -> None:
    """F08: an aborted request that is judged when its client has long gone on."""
    family = replace(FAMILY, rotated_at=NOW - timedelta(seconds=2))
    token = RefreshToken(mac_key_id=b"k" * 8, family_id=uuid4(), generation=3, delivery=NATIVE)

    def judged(after: float) -> Verdict:
        return verdict(
            family,
            token,
            attempt_digest=MINE,
            retry_window=WINDOW,
            now=NOW,
            under_way=timedelta(seconds=after),
        )

    assert [Verdict.REUSED, Verdict.REUSED, Verdict.OVERTAKEN] == [judged(0), judged(2), judged(3)]


@pytest.mark.requirement("R1", "R6")
@pytest.mark.parametrize(
    ("generation", "mine_is", "expected"),
    [
        pytest.param(18, 0, Verdict.OVERTAKEN, id="its-own-key"),
        pytest.param(4, 14, Verdict.OVERTAKEN, id="its-own-key-of-long-before"),
        pytest.param(18, 1, Verdict.REUSED, id="the-key-of-another-rotation"),
        pytest.param(18, None, Verdict.REUSED, id="another-key"),
        pytest.param(3, 14, Verdict.REUSED, id="further-behind-than-the-row-knows"),
    ],
)
def test_a_late_copy_of_an_attempt_that_was_answered_is_no_reuse(
    generation: int, mine_is: int | None, expected: Verdict
) -> None:
    """F08, F11: a request that is read or delivered after the client has gone on."""
    earlier = [OTHER[:8]] * 15
    if mine_is is not None:
        earlier[mine_is] = MINE[:8]
    family = replace(JUST_ROTATED, generation=20, earlier_attempts=b"".join(earlier))

    assert expected is decide(family, generation, NATIVE)


@pytest.mark.requirement("R1", "R6")
def test_what_a_row_of_an_earlier_version_has_is_the_key_before() -> None:
    """It kept one whole digest, whose other bytes are the beginning of no key."""
    family = replace(JUST_ROTATED, earlier_attempts=MINE)

    found = [decide(family, generation, NATIVE) for generation in (3, 2, 1, 0)]

    assert [Verdict.OVERTAKEN] == found[:1]


@pytest.mark.requirement("R1", "R2")
@pytest.mark.parametrize("earlier", [None, b""], ids=["none", "empty"])
def test_where_the_row_knows_no_key_it_is_reuse(earlier: bytes | None) -> None:
    family = replace(JUST_ROTATED, earlier_attempts=earlier)

    assert {Verdict.REUSED} == {decide(family, generation, NATIVE) for generation in range(4)}


@pytest.mark.requirement("R1", "R6")
def test_a_copy_that_is_later_than_any_proxy_would_bring_it_is_reuse() -> None:
    """Else a client whose memory was rolled back would hear 503 for ever."""
    family = replace(FAMILY, earlier_attempts=MINE[:8])
    late = family.rotated_at + timedelta(seconds=60)

    just_before = decide(family, 3, NATIVE, now=late - timedelta(microseconds=1))
    assert [Verdict.OVERTAKEN, Verdict.REUSED] == [just_before, decide(family, 3, NATIVE, now=late)]


@pytest.mark.requirement("R1", "R2")
def test_the_second_of_two_at_once_is_reuse_however_long_it_waited() -> None:
    family = replace(FAMILY, rotated_at=NOW)
    token = RefreshToken(mac_key_id=b"k" * 8, family_id=uuid4(), generation=4, delivery=NATIVE)

    found = verdict(
        family,
        token,
        attempt_digest=MINE,
        retry_window=WINDOW,
        now=NOW,
        under_way=timedelta(seconds=3),
    )

    assert Verdict.REUSED is found


@pytest.mark.requirement("R1", "R2", "R3", "R8", "R13")
@pytest.mark.parametrize(
    ("family", "generation", "delivery", "expected"),
    [
        pytest.param(FAMILY, 5, SPA, Verdict.ACTIVE, id="newest-rotates"),
        pytest.param(FAMILY, 5, NATIVE, Verdict.ACTIVE, id="newest-body-token-rotates"),
        pytest.param(JUST_ROTATED, 5, SPA, Verdict.KEPT, id="newest-cookie-in-window-is-kept"),
        pytest.param(JUST_ROTATED, 5, WEB, Verdict.KEPT, id="newest-web-cookie-is-kept"),
        pytest.param(JUST_ROTATED, 5, NATIVE, Verdict.ACTIVE, id="body-token-has-no-window"),
        pytest.param(
            replace(JUST_ROTATED, generation=0), 0, SPA, Verdict.ACTIVE, id="login-is-no-rotation"
        ),
        pytest.param(JUST_ROTATED, 4, SPA, Verdict.RETRY, id="two-tabs"),
        pytest.param(JUST_ROTATED, 4, NATIVE, Verdict.REUSED, id="body-token-twice-is-reuse"),
        pytest.param(FAMILY, 4, SPA, Verdict.REUSED, id="after-the-window-is-reuse"),
        pytest.param(SAME_KEY, 4, SPA, Verdict.RETRY, id="same-key-hours-later"),
        pytest.param(SAME_KEY, 4, NATIVE, Verdict.RETRY, id="same-key-body-token"),
        pytest.param(SAME_KEY, 3, SPA, Verdict.REUSED, id="key-helps-one-generation-only"),
        pytest.param(JUST_ROTATED, 3, SPA, Verdict.REUSED, id="window-helps-one-generation-only"),
        pytest.param(JUST_ROTATED, 0, WEB, Verdict.REUSED, id="oldest-is-reuse"),
        pytest.param(FAMILY, 6, SPA, Verdict.AHEAD, id="one-ahead"),
        pytest.param(FAMILY, 7, NATIVE, Verdict.AHEAD, id="two-ahead"),
        pytest.param(FAMILY, 8, SPA, Verdict.FAR_AHEAD, id="three-ahead"),
        pytest.param(
            replace(FAMILY, revoked_at=LONG_AGO), 5, SPA, Verdict.REVOKED, id="revoked"
        ),
        pytest.param(
            replace(FAMILY, revoked_at=LONG_AGO), 1, SPA, Verdict.REVOKED, id="revoked-not-reused"
        ),
        pytest.param(replace(FAMILY, idle_expires_at=NOW), 5, SPA, Verdict.EXPIRED, id="idle"),
        pytest.param(
            replace(FAMILY, absolute_expires_at=NOW), 5, SPA, Verdict.EXPIRED, id="absolute"
        ),
        pytest.param(
            replace(FAMILY, idle_expires_at=NOW), 2, SPA, Verdict.EXPIRED, id="expired-not-reused"
        ),
        pytest.param(
            replace(FAMILY, user_disabled_at=LONG_AGO), 5, SPA, Verdict.USER_DISABLED, id="disabled"
        ),
        pytest.param(
            replace(FAMILY, attempt_digest=None), 4, SPA, Verdict.REUSED, id="no-digest-stored"
        ),
        pytest.param(
            replace(FAMILY, rotated_at=NOW + timedelta(hours=1)), 4, SPA, Verdict.RETRY,
            id="clock-set-back-counts-as-no-time",
        ),
    ],
)  # fmt: skip
def test_a_presented_token_means(
    family: FamilyState, generation: int, delivery: Delivery, expected: Verdict
) -> None:
    assert expected == decide(family, generation, delivery)


@pytest.mark.parametrize("generation", [4, 5])
def test_a_window_of_zero_makes_every_re_presentation_reuse(generation: int) -> None:
    expected = Verdict.ACTIVE if generation == 5 else Verdict.REUSED

    assert expected == decide(JUST_ROTATED, generation, SPA, window=timedelta(0))


def test_the_window_is_anchored_at_the_rotation_and_ends_exactly() -> None:
    at_the_end = JUST_ROTATED.rotated_at + WINDOW

    assert Verdict.RETRY == decide(JUST_ROTATED, 4, SPA, now=at_the_end - timedelta(microseconds=1))
    assert Verdict.REUSED == decide(JUST_ROTATED, 4, SPA, now=at_the_end)
