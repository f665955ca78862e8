"""What people search for, when a library as it comes does not work, stands in the docs."""

from __future__ import annotations

from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SPRING = pytest.mark.finding("N03")
ASSERTIONS = pytest.mark.finding("N14")


@pytest.mark.parametrize(
    ("page", "text"),
    [
        pytest.param(page, text, marks=finding)
        for finding, page, text in (
            (SPRING, "protect-a-service.md", "JOSE header typ (type) at+jwt not allowed"),
            (SPRING, "protect-a-service.md", "the given typ value needs to be one of [JWT]"),
            (SPRING, "protect-a-service.md", "createAtJwtValidator()"),
            (ASSERTIONS, "service-to-service.md", "setJwtClientAssertionCustomizer"),
            (ASSERTIONS, "service-to-service.md", "ECKey"),
            (ASSERTIONS, "service-to-service.md", "ClientSecretBasic"),
        )
    ],
)
def test_the_message_and_its_cure_are_written_down(page: str, text: str) -> None:
    assert text in (DOCS / page).read_text(encoding="utf-8")
