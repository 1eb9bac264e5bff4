"""A browser without scripts or a screen: cookies, pages, and forms with the token of the page before."""

from __future__ import annotations

import re
from typing import Any, Self

import httpx

_TOKEN = re.compile(r'name="csrf_token" value="([0-9a-f]+)"')


class Browsing:
    """One person's; close it when done."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=30, trust_env=False, headers={"Accept": "text/html"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    @property
    def session(self) -> str:
        """The token of who is logged in."""
        return self.http.cookies["imagineo_session"]

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Load a page."""
        return self.http.get(path, **options)

    def post(self, page: str, path: str = "", **form: str) -> httpx.Response:
        """Load a page and send a form of it; to the page's own address where no path is given."""
        token = _TOKEN.search(self.get(page).text)
        assert token, f"{page} has no form"
        return self.http.post(path or page, data={"csrf_token": token[1], **form})

    def log_in(self, email: str, password: str) -> Self:
        """Log in by the form."""
        answer = self.post("/login", email=email, password=password)
        assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
        return self
