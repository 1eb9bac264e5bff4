"""Sends calls over httpx: encodes, retries, decodes. What may be retried is `retries.py`'s."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import msgspec

from imagineo_client import errors
from imagineo_client.answering import decoded, error_of
from imagineo_client.calls import Call, Listing, Page, spelled
from imagineo_client.pictures import Picture
from imagineo_client.retries import RetryPolicy
from imagineo_client.types.answers import Limits
from imagineo_client.version import USER_AGENT
from imagineo_client.waiting import async_sleep

T = TypeVar("T")
Item = TypeVar("Item")
#: A large file takes longer than an answer does.
_SENDING_S = 300.0


class Transport:
    """One connection pool to one platform with one key."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeout_s: float,
        policy: RetryPolicy,
        http_client: httpx.AsyncClient | None,
    ) -> None:
        self.base_url = base_url
        self.policy = policy
        self.timeout_s = timeout_s
        self._headers = {"X-API-Key": api_key, "User-Agent": USER_AGENT}
        self._owned = http_client is None
        self._http = http_client or httpx.AsyncClient()

    async def aclose(self) -> None:
        """Close the connections, unless they are the caller's."""
        if self._owned:
            await self._http.aclose()

    async def answer(self, call: Call[T]) -> T:
        """Send a call and decode its answer."""
        response = await self._sent(call)
        return decoded(response.content, call.shape, call.where)

    async def done(self, call: Call[None]) -> None:
        """Send a call that has no answer; one that went out before takes 404 for done."""
        await self._sent(call)

    async def content(self, call: Call[None]) -> bytes:
        """Send a call whose answer is no JSON object."""
        return (await self._sent(call)).content

    async def download(self, url: str) -> Picture:
        """Fetch a signed link, which needs no key: it may lead to another host."""
        attempt = 0
        while True:
            problem: Exception
            try:
                response = await self._http.get(url, headers={"User-Agent": USER_AGENT}, timeout=self.timeout_s)
                if response.is_success:
                    return Picture(response.content)
                problem = error_of(response)
            except httpx.RequestError as broken:
                problem = broken
            attempt += 1
            await self.pause(attempt, problem, Call("GET", url.partition("?")[0], type(None)))

    async def page(self, listing: Listing[Item], limit: int, cursor: str | None) -> Page[Item]:
        """One page of a list."""
        return listing.page(await self.answer(listing.call(limit, cursor)))

    async def items(self, listing: Listing[Item], limit: int = 100) -> AsyncIterator[Item]:
        """All things of a list; each page is asked for when the one before has been handed out."""
        cursor: str | None = None
        while True:
            page = await self.page(listing, limit, cursor)
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if cursor is None:
                return

    @asynccontextmanager
    async def stream(self, call: Call[Any], *, silence_s: float) -> AsyncIterator[httpx.Response]:
        """An answer that is read while it comes, one sending only.

        Raises:
            ImagineoError: if it is refused.
            httpx.RequestError: if the connection fails, also while it is read.
        """
        timeout = httpx.Timeout(self.timeout_s, read=silence_s)
        request = self._http.build_request(
            call.method,
            self.base_url + call.path,
            params=spelled(call.query),
            headers={**self._headers, **call.headers},
            timeout=timeout,
        )
        response = await self._http.send(request, stream=True)
        try:
            if not response.is_success:
                await response.aread()
                raise error_of(response)
            yield response
        finally:
            await response.aclose()

    async def _sent(self, call: Call[Any]) -> httpx.Response:
        attempt = 0
        while True:
            problem: Exception
            try:
                response = await self._once(call)
            except httpx.RequestError as broken:
                problem = broken
            else:
                if response.is_success or (call.method == "DELETE" and attempt and response.status_code == 404):
                    return response
                problem = error_of(response)
            attempt += 1
            if call.limit and isinstance(problem, (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)):
                await self._check_size(call)
            await self.pause(attempt, problem, call)

    async def _check_size(self, call: Call[Any]) -> None:
        """Say why the connection broke, if it was too large: a refusal amid the body may get lost with the connection.

        Raises:
            BodyTooLargeError: if it is over the platform's limit.
        """
        size_bytes = call.form.size_bytes if call.form else len(msgspec.json.encode(call.body))
        try:
            limit_bytes = getattr(await self.answer(Call("GET", "/v1/limits", Limits)), call.limit)
        except errors.ImagineoError:
            return  # the key may not ask, or nobody is there: what broke is told as it is
        if size_bytes > limit_bytes:
            message = f"The body has {size_bytes} bytes. At most {limit_bytes} are allowed."
            raise errors.BodyTooLargeError(message, status=413)

    async def pause(self, attempt: int, problem: Exception, call: Call[Any]) -> None:
        """Wait before a call goes again.

        Raises:
            ImagineoError: the problem, if it does not.
        """
        pause_s = self.policy.pause_s(attempt, problem, call.repeats)
        if pause_s is None:
            raise told(problem, call.where, self.base_url) from problem.__cause__
        await async_sleep(pause_s)

    async def _once(self, call: Call[Any]) -> httpx.Response:
        headers, options = {**self._headers, **call.headers}, dict[str, Any]()
        if call.query:
            options["params"] = spelled(call.query)
        if call.form is None:
            if call.body is not None:
                headers["Content-Type"] = "application/json"
                options["content"] = msgspec.json.encode(call.body)
            return await self._http.request(
                call.method, self.base_url + call.path, headers=headers, timeout=self.timeout_s, **options
            )
        file = call.form.opened()
        try:
            return await self._http.request(
                call.method,
                self.base_url + call.path,
                headers=headers,
                data=dict(call.form.fields),
                files={"file": (call.form.name, file)},  # type: ignore[dict-item] # it reads like one
                timeout=httpx.Timeout(self.timeout_s, write=_SENDING_S, read=max(self.timeout_s, _SENDING_S)),
            )
        finally:
            file.close()


def told(problem: Exception, where: str, base_url: str) -> Exception:
    """The client's error of what httpx raised; its own ones stay."""
    if isinstance(problem, httpx.TimeoutException) and not isinstance(problem, httpx.ConnectTimeout):
        return errors.RequestTimeoutError(f"{where}: no answer from {base_url} in time.")
    if isinstance(problem, (httpx.LocalProtocolError, httpx.UnsupportedProtocol)):
        return errors.ImagineoError(f"{where}: the request cannot be sent: {problem}.")
    if isinstance(problem, httpx.DecodingError):
        return errors.UnexpectedAnswerError(f"{where}: the answer cannot be read: {problem}.")
    if isinstance(problem, httpx.RequestError):
        reason = str(problem) or type(problem).__name__
        return errors.ConnectionFailedError(f"{where}: no connection to {base_url}: {reason}.")
    return problem
