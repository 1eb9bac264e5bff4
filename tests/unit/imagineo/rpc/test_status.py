"""The table between exceptions and gRPC statuses covers every reason."""

from imagineo import errors
from imagineo.rpc.status import CODES
from imagineo.v1 import error_reason_pb2 as pb


def test_every_reason_has_a_status_code():
    assert set(CODES) == set(pb.ErrorReason.values()) - {pb.ERROR_REASON_UNSPECIFIED}


def test_every_reason_has_an_exception():
    assert set(errors.BY_REASON) == set(CODES)
