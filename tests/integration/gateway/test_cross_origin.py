"""Pages of other origins: which may call the API, what they are shown of its answers, and that cookies never count."""

import pytest

from services.gateway.routes import ROUTES
from tests.support.gateway_peers import platform, settings

APP = "https://app.example.org"
HEADERS = "content-type,idempotency-key,last-event-id,prefer,x-api-key"


def preflight(origin: str = APP, method: str = "POST", headers: str = HEADERS) -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}


async def test_a_preflight_of_an_origin_that_is_named_is_granted_for_every_method_there_is():
    async with platform(allowed_origins=(APP,)) as found:
        for method in {row.method for row in ROUTES}:
            answer = await found.client.options("/v1/generate", headers=preflight(method=method))

            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == APP
            assert answer.headers["access-control-allow-headers"] == HEADERS
            assert method in answer.headers["access-control-allow-methods"]
            assert answer.headers["x-request-id"]
            assert "access-control-allow-credentials" not in answer.headers
        assert found.auth.checks == []


@pytest.mark.parametrize("key", ["", "imag_wrong"])
async def test_answers_and_refusals_may_be_read_with_their_headers(key):
    async with platform(allowed_origins=(APP,)) as found:
        headers = {"Origin": APP} | ({"X-API-Key": key} if key else {})
        answer = await found.client.get("/v1/limits", headers=headers)

        assert answer.status_code == (401 if key else 200)
        assert answer.headers["access-control-allow-origin"] == APP
        shown = {name.lower() for name in answer.headers["access-control-expose-headers"].split(", ")}
        told = {"x-request-id", "www-authenticate"} if key else {"x-request-id", "x-ratelimit-remaining", "ratelimit"}
        assert told <= shown & {name.lower() for name in answer.headers}
        assert "retry-after" in shown
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers


async def test_a_body_that_is_too_large_is_told_to_the_page():
    async with platform(allowed_origins=(APP,)) as found:
        headers = {"Origin": APP, "Content-Type": "application/json"}
        answer = await found.client.post("/v1/generate", content=b"x" * 100_000, headers=headers)

        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (413, APP)


async def test_an_origin_that_is_not_named_is_shown_nothing():
    async with platform(allowed_origins=(APP,)) as found:
        for origin in ("https://evil.example.org", f"{APP}.evil.org", "http://app.example.org", "null"):
            refused = await found.client.options("/v1/generate", headers=preflight(origin))
            answer = await found.client.get("/v1/limits", headers={"Origin": origin})

            assert refused.status_code == 400
            assert "access-control-allow-origin" not in refused.headers
            assert "access-control-allow-origin" not in answer.headers
            # Nor may a cache give this answer to the origin that is named.
            assert "Origin" in answer.headers["vary"]


async def test_everybody_may_where_a_star_says_so():
    async with platform(allowed_origins=("*",)) as found:
        granted = await found.client.options("/v1/models", headers=preflight("http://localhost:5173", "GET"))
        answer = await found.client.get("/v1/limits", headers={"Origin": "http://localhost:5173"})

        assert granted.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


async def test_nobody_may_unless_told_so_and_the_dashboard_is_nobodys():
    async with platform() as closed, platform(allowed_origins=("*",)) as found:
        nothing = await closed.client.get("/v1/limits", headers={"Origin": APP})
        refused = await closed.client.options("/v1/generate", headers=preflight())
        page = await found.client.get("/login", headers={"Origin": APP})

        assert refused.status_code == 405
        assert page.status_code == 200
        for answer in (nothing, refused, page):
            assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "origin", ["app.example.org", "https://app.example.org/", "https://*.example.org", "null", "HTTPS://A.ORG"]
)
def test_what_is_no_origin_is_refused_at_the_start(origin):
    with pytest.raises(ValueError, match=r"allowed_origins must be '\*' or such as 'https://app\.example\.org'"):
        settings(allowed_origins=(APP, origin))
