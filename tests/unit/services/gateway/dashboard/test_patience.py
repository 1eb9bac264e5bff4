"""The time to wait is said in units that people use, and only where waiting helps."""

from __future__ import annotations

import pytest
from imagineo import errors

from services.gateway.dashboard.patience import again
from services.gateway.dashboard.visit import refusal


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 second"),
        (33.4, "34 seconds"),
        (120, "120 seconds"),
        (121, "3 minutes"),
        (7_200, "120 minutes"),
        (7_201, "3 hours"),
        (15 * 86_400, "15 days"),
    ],
)
def test_a_span_is_rounded_up_to_its_unit(seconds: float, words: str) -> None:
    assert again(errors.QuotaExceeded(retry_after_s=seconds)) == f"Try again in {words}."


def test_what_says_no_time_has_the_documented_one_and_what_waiting_cannot_help_has_none() -> None:
    assert again(errors.RateLimited()) == "Try again in 60 seconds."
    assert again(errors.NotFound()) == again(None) == ""


def test_a_refused_form_says_when_to_send_it_again() -> None:
    assert refusal(errors.RateLimited("Too many tries.", retry_after_s=9)) == "Too many tries. Try again in 9 seconds."
    assert refusal(errors.NotFound("There is none.")) == "There is none."
