"""Exceptions travel as details and come back as they were."""

import pytest
from imagineo import errors


@pytest.mark.parametrize("kind", errors.BY_REASON.values(), ids=lambda kind: kind.__name__)
def test_an_error_survives_the_wire(kind):
    sent = kind("a sentence", metadata={"param": "guidance"}, retry_after_s=3.5)

    received = errors.from_detail(sent.detail())

    assert type(received) is kind
    assert (received.message, received.metadata, received.retry_after_s) == ("a sentence", {"param": "guidance"}, 3.5)


def test_the_docstring_is_the_default_message():
    assert errors.NotFound().message == "There is no such thing."


def test_an_invalid_parameter_reads_as_the_documentation_does():
    error = errors.InvalidParameter.of("guidance", "between 1 and 20")

    assert error.message == "Invalid value for parameter 'guidance'. Must be between 1 and 20."
    assert error.code == "invalid_parameter"


def test_an_internal_error_has_the_code_internal_error():
    assert errors.Internal().code == "internal_error"
