"""Headers, query, ranges, signatures, the error table and the published document."""

import json
import re

import pytest
from imagineo import errors
from imagineo.settings import Secret
from imagineo.v1 import error_reason_pb2 as pb
from imagineo.wire.image_urls import UrlSigner
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.datastructures import Headers, QueryParams

from services.gateway import query, ranges
from services.gateway.errors import HTTP_STATUS, render
from services.gateway.exchange import Exchange
from services.gateway.llms import summary
from services.gateway.preferences import read_preferences
from services.gateway.routes import ROUTES
from services.gateway.specification import document

REASONS = [value for value in pb.ErrorReason.values() if value != pb.ERROR_REASON_UNSPECIFIED]
NOW_S = 1_700_000_000.5


@pytest.mark.parametrize("reason", REASONS, ids=pb.ErrorReason.Name)
def test_every_reason_has_the_status_that_the_protocol_says(reason):
    documented = pb.DESCRIPTOR.enum_types_by_name["ErrorReason"].values_by_number[reason]
    kind = errors.BY_REASON[reason]
    response = render(kind("What happened."), Exchange("req_1"))
    shown = json.loads(response.body)["error"]
    assert documented.number in HTTP_STATUS
    assert response.status_code == HTTP_STATUS[reason]
    assert (shown["code"], shown["request_id"]) == (kind().code, "req_1")
    assert ("retry-after" in response.headers) == (kind.retryable or response.status_code == 503)
    assert ("www-authenticate" in response.headers) == (response.status_code == 401)


def test_the_protocol_and_the_table_agree_on_every_status():
    with open("protos/imagineo/v1/error_reason.proto") as file:  # noqa: PTH123
        text = file.read()
    said = re.findall(r"REST: (\d{3}) `(\w+)`\.(?:(?!REST:).)*?ERROR_REASON_(\w+) = \d+;", text, re.DOTALL)
    table = {name: HTTP_STATUS[pb.ErrorReason.Value(f"ERROR_REASON_{name}")] for _, _, name in said}
    assert table == {name: int(status) for status, _, name in said}
    assert len(said) == len(REASONS)


def test_an_internal_error_shows_nothing_of_itself():
    response = render(errors.Internal("password=hunter2", metadata={"dsn": "x"}), Exchange("req_1"))
    assert b"hunter2" not in response.body
    assert b"dsn" not in response.body


def test_a_retry_is_never_sooner_than_said():
    response = render(errors.RateLimited(retry_after_s=3.2), Exchange("req_1"))
    assert response.headers["retry-after"] == "4"


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "\u00e9", "a\tb"])
def test_a_malformed_idempotency_key_is_refused(key):
    with pytest.raises(errors.InvalidParameter, match="1 to 255 visible ASCII") as refused:
        read_preferences(Headers(raw=[(b"idempotency-key", key.encode("latin-1"))]))
    assert refused.value.metadata["param"] == "Idempotency-Key"


@pytest.mark.parametrize("value", ["0", "61", "x", "-1", "1.5", ""])
def test_a_wait_that_cannot_be_kept_is_refused(value):
    with pytest.raises(errors.InvalidParameter, match="wait=N with N a whole number of seconds between 1 and 60"):
        read_preferences(Headers({"prefer": f"wait={value}"}))


@pytest.mark.parametrize("value", ["0", "86401", "soon", "1e3"])
def test_a_wrong_deadline_is_refused(value):
    with pytest.raises(errors.InvalidParameter, match="between 1 and 86400") as refused:
        read_preferences(Headers({"cancel-after": value}))
    assert refused.value.metadata["param"] == "Cancel-After"


@pytest.mark.parametrize("value", ["wait=7", "respond-async, wait=7", ' WAIT = "7" ; x=y'])
def test_a_wait_is_found_among_other_preferences(value):
    assert read_preferences(Headers({"prefer": value})).wait_s == 7


def test_other_preferences_are_ignored():
    assert read_preferences(Headers({"prefer": "respond-async"})).wait_s is None


def test_query_parameters_are_strict():
    with pytest.raises(errors.UnknownField, match=r"Unknown query parameter 'statu'\. Did you mean 'status'"):
        query.check_names(QueryParams("statu=queued"), ("status", "limit"))
    for wrong in ("0", "101", "x", "", "1.5"):
        with pytest.raises(errors.InvalidParameter, match="between 1 and 100"):
            query.limit(QueryParams({"limit": wrong}))
    for wrong in ("yesterday", "2026-01-31", "2026-13-01T00:00:00Z", "2026-01-31T12:00:00"):
        with pytest.raises(errors.InvalidParameter, match="RFC 3339"):
            query.moment(QueryParams({"created_after": wrong}), "created_after")
    assert query.moment(QueryParams({"t": "2026-01-31T12:00:00+01:00"}), "t").ToJsonString() == "2026-01-31T11:00:00Z"
    assert query.words(QueryParams("status=queued,running&status=failed"), "status", ("queued", "running", "failed"))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=50-1000", (50, 100)),
        ("bytes=9-0", None),
        ("bytes=0-1,5-6", None),
        ("lines=1-2", None),
        ("bytes=-", None),
        ("", None),
    ],
)
def test_a_byte_range_is_read(header, expected):
    assert ranges.byte_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=200-300", "bytes=-0"])
def test_a_range_outside_is_unsatisfiable(header):
    with pytest.raises(ranges.Unsatisfiable):
        ranges.byte_range(header, 100)


def _signed(signer, name="gen_1.png"):
    found = signer.sign("https://x.test", name, NOW_S)
    expires, signature = re.fullmatch(
        r"https://x\.test/images/gen_1\.png\?expires=(\d+)&signature=(.+)", found.url
    ).groups()
    return expires, signature


def test_a_signed_link_works_until_it_expires():
    signer = UrlSigner(Secret("k" * 16), 60)
    expires, signature = _signed(signer)
    assert signer.verify("gen_1.png", expires, signature, NOW_S + 58) == int(NOW_S) + 60
    with pytest.raises(errors.PermissionDenied, match="expired"):
        signer.verify("gen_1.png", expires, signature, NOW_S + 60)


def test_a_tampered_link_is_refused():
    signer = UrlSigner(Secret("k" * 16), 60)
    expires, signature = _signed(signer)
    forged = [
        ("gen_2.png", expires, signature),
        ("gen_1.webp", expires, signature),
        ("gen_1.png", str(int(expires) + 1), signature),
        ("gen_1.png", expires, signature[:-1]),
        ("gen_1.png", expires, "\u00e9"),
        ("gen_1.png", "", ""),
    ]
    for name, until, sign in forged:
        with pytest.raises(errors.PermissionDenied, match="missing or wrong"):
            signer.verify(name, until, sign, NOW_S)
    with pytest.raises(errors.PermissionDenied):
        UrlSigner(Secret("j" * 16), 60).verify("gen_1.png", expires, signature, NOW_S)


def test_the_document_is_valid_openapi():
    OpenAPIV31SpecValidator(document(ROUTES)).validate()


def test_the_document_and_the_route_table_agree_both_ways():
    paths = document(ROUTES)["paths"]
    written = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    assert written == {(row.method, row.path) for row in ROUTES}


def test_the_document_lists_every_code_and_header():
    found = document(ROUTES)
    assert set(found["components"]["schemas"]["ErrorCode"]["enum"]) == {
        kind().code for kind in errors.BY_REASON.values()
    }
    submit = found["paths"]["/v1/generate"]["post"]
    assert set(submit["responses"]) == {"200", *(str(status) for status in set(HTTP_STATUS.values()))}
    assert {item["name"] for item in submit["parameters"]} == {"Idempotency-Key", "Prefer", "Cancel-After"}
    for row in ROUTES:
        operation = found["paths"][row.path][row.method.lower()]
        assert ("security" in operation) == (row.permission is not None)
        assert row.permission is not None or not row.path.startswith("/v1")


def test_every_operation_has_a_command_to_copy_and_every_body_an_example():
    found = document(ROUTES)
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            command = operation["x-codeSamples"][0]["source"]
            assert command in operation["description"], (method, path)
            assert command.startswith("curl -sS --fail-with-body ")
            assert "{" not in command.partition(" -d ")[0], command
            assert ("$IMAGINEO_API_KEY" in command) == ("security" in operation)
            for content in operation.get("requestBody", {}).get("content", {}).values():
                validator = OAS31Validator({**content["schema"], "components": found["components"]})
                validator.validate(content["examples"]["one"]["value"])


def test_the_summary_names_every_route():
    text = summary(document(ROUTES, server_url="https://images.example.org"))
    assert text.startswith("# Imagineo\n\n> ")
    assert "Base URL: https://images.example.org." in text
    for row in ROUTES:
        assert f"\n### {row.method} {row.path}\n" in text
    assert "{{" not in text
