"""How a command ends: its exit code, and one line where it did not work."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from imagineo_client import errors

Command = TypeVar("Command", bound=Callable[..., Any])


class ExitCode(IntEnum):
    """What the shell sees; the README has the table."""

    OK = 0
    NO_PICTURE = 1
    USAGE = 2
    KEY = 3
    REFUSED = 4
    LIMIT = 5
    PLATFORM = 6
    TIMEOUT = 7
    FILE = 8
    INTERRUPTED = 130
    PIPE = 141


_CODES: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
    (errors.RunEndedError, ExitCode.NO_PICTURE),
    (errors.WaitTimeoutError, ExitCode.TIMEOUT),
    (errors.AuthenticationError, ExitCode.KEY),
    (errors.PermissionDeniedError, ExitCode.KEY),
    (errors.TooManyRequestsError, ExitCode.LIMIT),
    (errors.ServerError, ExitCode.PLATFORM),
    (errors.ApiError, ExitCode.REFUSED),
    (errors.ImagineoError, ExitCode.PLATFORM),
    (OSError, ExitCode.FILE),
    (ValueError, ExitCode.USAGE),
)


def spoken(command: Command) -> Command:
    """A command whose problems become one line and an exit code; with `--json` an object on stderr."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()  # a full disk shows here
        except BrokenPipeError:  # `imagineo runs list | head`: who reads has enough
            _drop_unwritten()
            raise typer.Exit(int(ExitCode.PIPE)) from None
        except tuple(kind for kind, _ in _CODES) as problem:
            _drop_unwritten()
            _say(problem, as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(int(code_of(problem))) from None

    return guarded  # type: ignore[return-value] # it takes and gives the same


def _drop_unwritten() -> None:
    """Forget what stdout could not take: the interpreter would try once more at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def code_of(problem: BaseException) -> ExitCode:
    """The exit code of a problem."""
    return next(code for kind, code in _CODES if isinstance(problem, kind))


def line_of(problem: BaseException) -> str:
    """A problem in one line, with what helps."""
    if isinstance(problem, KeyboardInterrupt):
        return "Interrupted."
    if isinstance(problem, OSError) and problem.strerror:
        return f"{problem.filename or 'The output'}: {problem.strerror}"
    if isinstance(problem, errors.MissingApiKeyError):
        return "There is no API key: `imagineo login` keeps one, or give --api-key or IMAGINEO_API_KEY."
    line = " ".join(str(problem).split()) or type(problem).__name__
    if isinstance(problem, errors.AuthenticationError):
        line += " `imagineo login` keeps a key for you."
    if isinstance(problem, errors.ConnectionFailedError):
        line += " Is it running, and is the address right?"
    if isinstance(problem, errors.ApiError) and problem.retry_after_s and problem.status == 429:
        line += f" Try again in {problem.retry_after_s:.0f} s."
    if isinstance(problem, errors.ServerError) and problem.request_id:
        line += f" (request {problem.request_id})"
    return line


def _say(problem: BaseException, *, as_json: bool) -> None:
    if not as_json:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]Error:[/] {escape(line_of(problem))}")
        return
    told: dict[str, Any] = {"kind": type(problem).__name__, "message": line_of(problem)}
    if isinstance(problem, errors.ApiError):
        told |= {"code": problem.code, "status": problem.status, "param": problem.param}
        told |= {"request_id": problem.request_id, "retry_after_s": problem.retry_after_s}
    if isinstance(problem, errors.RunEndedError):
        told["generation"] = problem.generation
    typer.echo(msgspec.json.encode({"error": told}).decode(), err=True)
