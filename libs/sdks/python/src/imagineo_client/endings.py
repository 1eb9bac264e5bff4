"""What a run's end means to who waits for it."""

from __future__ import annotations

from imagineo_client import errors
from imagineo_client.types.answers import Generation


def completed(generation: Generation | None) -> Generation:
    """The generation, if there is a picture of it.

    Raises:
        RunEndedError: otherwise.
    """
    if generation is None:
        raise errors.UnexpectedAnswerError("The run's events ended without one.")
    if generation.status == "completed":
        return generation
    if generation.status == "canceled":
        raise errors.RunCanceledError(f"{generation.run_id} was canceled.", generation)
    if generation.status == "expired":
        raise errors.RunExpiredError(f"{generation.run_id} had not begun by its deadline.", generation)
    reason = f"{generation.error.message} ({generation.error.code})" if generation.error else "no reason is known."
    raise errors.RunFailedError(f"{generation.run_id} failed: {reason}", generation)


def image_url(generation: Generation) -> str:
    """The link to the picture of a completed run."""
    if generation.image_url is None:
        raise errors.UnexpectedAnswerError(f"{generation.run_id} is completed and has no image.")
    return generation.image_url
