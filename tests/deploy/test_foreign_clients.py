"""What people search for, when a library as it comes does not work, stands in the docs."""

from __future__ import annotations

from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        pytest.param(page, text, marks=pytest.mark.finding(finding))
        for finding, page, text in (
            ("N03", "protect-a-service.md", "JOSE header typ (type) at+jwt not allowed"),
            ("N03", "protect-a-service.md", "the given typ value needs to be one of [JWT]"),
            ("N03", "protect-a-service.md", "createAtJwtValidator()"),
            ("N14", "service-to-service.md", "setJwtClientAssertionCustomizer"),
            ("N14", "service-to-service.md", "ECKey"),
            ("N14", "service-to-service.md", "ClientSecretBasic"),
        )
    ],
)
def test_the_message_and_its_cure_are_written_down(page: str, text: str) -> None:
    assert text in (DOCS / page).read_text(encoding="utf-8")
