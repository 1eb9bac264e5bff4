from __future__ import annotations

import pytest
from imagineo import errors
from imagineo.v1 import generation_pb2

from services.worker import outcome
from services.worker.engine import base, failures
from services.worker.outcome import Settle


def kinds_of(root):
    return [root, *(leaf for child in root.__subclasses__() for leaf in kinds_of(child))]


@pytest.mark.parametrize("kind", kinds_of(failures.DrawFailed))
def test_every_failure_of_the_engine_fails_the_run_with_its_code(kind):
    ending = outcome.of_problem(kind(), None)
    assert (ending.status, ending.settle) == (generation_pb2.STATUS_FAILED, Settle.ACK)
    assert ending.error_code == kind.run_code
    assert ending.error_message.endswith(".")


def test_the_engines_failures_have_codes_of_their_own():
    kinds = kinds_of(failures.DrawFailed)
    assert len({kind.run_code for kind in kinds}) == len(kinds)


def test_a_device_that_breaks_fails_no_run_and_costs_an_attempt_only_those_that_were_at_work():
    suspect, other = (outcome.of_problem(failures.DeviceBroken(is_suspect=one), None) for one in (True, False))
    assert (suspect.status, suspect.settle) == (None, Settle.NAK)
    assert (other.status, other.settle) == (generation_pb2.STATUS_QUEUED, Settle.NAK)
    assert suspect.delay_s > 0 < other.delay_s


@pytest.mark.parametrize("reason", list(base.StopReason))
def test_every_reason_to_stop_has_an_ending(reason):
    assert outcome.of_problem(base.DrawStopped(), reason) is outcome.OF_STOP[reason]


def test_a_lost_lease_says_nothing_and_leaves_the_delivery_to_its_new_owner():
    assert (outcome.LOST.status, outcome.LOST.settle) == (None, Settle.LEAVE)


@pytest.mark.parametrize(
    "kind", [kind for kind in kinds_of(errors.ImagineoError) if kind.__module__ == errors.__name__]
)
def test_every_error_of_the_platform_has_an_ending(kind):
    ending = outcome.of_problem(kind(), None)
    if kind is errors.Unavailable:
        assert (ending.status, ending.settle) == (generation_pb2.STATUS_QUEUED, Settle.NAK)
        assert ending.delay_s > 0
    else:
        assert ending.status == generation_pb2.STATUS_FAILED


def test_a_bug_shows_a_person_nothing_of_itself():
    ending = outcome.of_problem(KeyError("secret"), None)
    assert (ending.status, ending.error_code) == (generation_pb2.STATUS_FAILED, "internal_error")
    assert "secret" not in ending.error_message


def test_only_what_is_told_is_acked_except_where_there_is_nothing_to_tell():
    endings = [value for value in vars(outcome).values() if isinstance(value, outcome.Ending)]
    for ending in endings:
        if ending.settle is Settle.ACK:
            assert ending.status is not None or ending is outcome.CLAIM_OVER
        if ending.status == generation_pb2.STATUS_QUEUED:
            assert ending.settle is Settle.NAK
