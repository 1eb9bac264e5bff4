"""One platform and one browser for all tests of the dashboard; a studio with a member of each role and pictures."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.support import platform as local
from tests.support.browsers import Login, Visitor, chromium, new_person
from tests.support.platform import Platform
from tests.support.rest import Account

PROMPTS = ("a red apple", "sunflower", "a rocket", "dog face")
#: Enough to be seen, and drawn in a moment.
QUICK = {"width": 256, "height": 256, "steps": 8, "guidance": 3}


#: A bound, not a wait: a machine that builds beside the tests is slow.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        # As root, as in a container, it starts without its own sandbox only.
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


class _QuietPages(SimpleHTTPRequestHandler):
    """Serves a folder and logs nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="package")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A web server of somebody else on this machine: the folder that it serves, and its port."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "index.html").write_text("<!doctype html><title>Somebody else's page</title>")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_QuietPages, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="package")
def platform(browser: Browser, elsewhere: tuple[Path, int]) -> Iterator[Platform]:
    """It lets the pages of `http://127.0.0.1:<port>` call the API, and not those of `http://localhost:<port>`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMAGINEO_GATEWAY_ALLOWED_ORIGINS", f"http://127.0.0.1:{elsewhere[1]}")
        with local.platform("--no-first-image") as running:
            yield running


@pytest.fixture(scope="package")
def studio(platform: Platform) -> Iterator[Account]:
    """An organization whose limits are out of reach, with some pictures."""
    with platform.account() as fresh:
        models = fresh.get("/v1/models").json()["models"]
        chosen = [model["id"] for model in models[:3]] + [fresh.base_model()]
        runs = [
            fresh.submit(positive_prompt=prompt, model_id=model_id, **QUICK)
            for prompt, model_id in zip(PROMPTS, chosen, strict=True)
        ]
        for run_id in runs:
            fresh.until(run_id)
        yield fresh


@pytest.fixture(scope="package")
def logged_in(platform: Platform, browser: Browser, studio: Account) -> Callable[[str], Any]:
    """The cookies of a member of the studio in a role, or of `administrator`, who logged in once."""
    states: dict[str, Any] = {}

    def state_of(who: str) -> Any:
        if who not in states:
            is_administrator = who == "administrator"
            role = "owner" if is_administrator else who
            address = platform.ready["grpc"]["auth"]
            login = new_person(address, studio, role, is_administrator=is_administrator)
            with Visitor(browser, platform.ready["url"]) as visitor:
                states[who] = visitor.log_in(login).context.storage_state()
        return states[who]

    return state_of


@pytest.fixture
def visit(
    platform: Platform, browser: Browser, studio: Account, logged_in: Callable[[str], Any]
) -> Iterator[Callable[..., Visitor]]:
    """Opens the dashboard as a member of the studio in a role, as `administrator`, or as nobody (`guest`)."""
    opened: list[Visitor] = []

    def open_as(who: str = "owner", **options: Any) -> Visitor:
        state = None if who == "guest" else logged_in(who)
        opened.append(Visitor(browser, platform.ready["url"], state=state, **options))
        return opened[-1]

    yield open_as
    for visitor in opened:
        visitor.__exit__()


@pytest.fixture
def new_member(platform: Platform, studio: Account) -> Callable[[str], Login]:
    """Makes another member of the studio, whom a test may spoil."""
    return lambda role: new_person(platform.ready["grpc"]["auth"], studio, role)


@pytest.fixture(scope="package")
def screenshots() -> Path:
    """Where people look at what they made."""
    folder = local.REPOSITORY / ".imagineo" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="package")
def axe() -> str:
    """The accessibility checker's script."""
    return (Path(__file__).parent / "axe" / "axe.min.js").read_text()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(600))  # the first one waits for the platform too
