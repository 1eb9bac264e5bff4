"""The supervisor with small programs of our own: restarts, order, and that nothing outlives it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.process import Child, Program
from deploy.local.supervisor import StartError, Supervisor
from tests.support.deadlines import SURELY_S, lived
from tests.support.platform import eventually

REPOSITORY = Path(__file__).parents[4]


def program(folder: Path, name: str, code: str, stop_grace_s: float = 5.0) -> Program:
    """A Python program that is ready once it has made the file `<name>.up`."""
    up = folder / f"{name}.up"

    async def ready(_child: Child) -> bool:
        return up.exists()

    return Program(
        name=name,
        command=(sys.executable, "-c", f"import pathlib, signal, sys, time\n{textwrap.dedent(code)}"),
        log=folder / f"{name}.log",
        environment={"UP": str(up)},
        ready=ready,
        before_start=lambda: up.unlink(missing_ok=True),
        stop_grace_s=stop_grace_s,
    )


UP = "import os; pathlib.Path(os.environ['UP']).touch()"
SLEEPER = f"{UP}\nsignal.pause()"
STUBBORN = f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{UP}\nwhile True: signal.pause()"


async def test_a_killed_program_is_back_within_a_second(tmp_path: Path) -> None:
    changed = asyncio.Event()
    said: list[str] = []
    supervisor = Supervisor(said.append, changed.set)
    await supervisor.start([program(tmp_path, "sleeper", SLEEPER)])
    try:
        first = supervisor.pids()["sleeper"]
        os.kill(first, signal.SIGKILL)
        async with lived() as waited:
            await changed.wait()
        assert waited.s < 1.0, "the first restart waits longer than its pause"

        assert supervisor.pids()["sleeper"] != first
        assert psutil.pid_exists(supervisor.pids()["sleeper"])
        assert said == ["sleeper was killed by signal 9; started again"]
    finally:
        await supervisor.stop()


async def test_stop_ends_the_last_started_first_and_a_program_that_ignores_sigterm_too(tmp_path: Path) -> None:
    order = tmp_path / "order"
    note = f"""
    def note(*_):
        with open({str(order)!r}, "a") as file: file.write(sys.argv[0] + NAME + "\\n")
        sys.exit()
    signal.signal(signal.SIGTERM, note)
    """
    noting = textwrap.dedent(note) + SLEEPER
    supervisor = Supervisor(lambda _line: None, lambda: None)
    await supervisor.start([program(tmp_path, "database", f"NAME = 'database'\n{noting}")])
    await supervisor.start([program(tmp_path, "service", f"NAME = 'service'\n{noting}")])
    await supervisor.start([program(tmp_path, "stubborn", STUBBORN, stop_grace_s=0.2)])
    pids = supervisor.pids().values()

    await supervisor.stop()

    assert [line.removeprefix("-c") for line in order.read_text().split()] == ["service", "database"]
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


async def test_a_stopped_process_is_woken_so_that_it_can_end(tmp_path: Path) -> None:
    supervisor = Supervisor(lambda _line: None, lambda: None)
    await supervisor.start([program(tmp_path, "sleeper", SLEEPER, stop_grace_s=2 * SURELY_S)])
    pid = supervisor.pids()["sleeper"]
    os.kill(pid, signal.SIGSTOP)

    async with asyncio.timeout(SURELY_S):  # by force it would end after its grace
        await supervisor.stop()

    assert not psutil.pid_exists(pid)


async def test_what_a_dead_program_left_behind_is_ended(tmp_path: Path) -> None:
    """Like a database whose sessions outlive it for a moment and keep its files busy."""
    child_pid = tmp_path / "child"
    code = f"""
    import subprocess
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
    pathlib.Path({str(child_pid)!r}).write_text(str(child.pid))
    """
    changed = asyncio.Event()
    supervisor = Supervisor(lambda _line: None, changed.set)
    await supervisor.start([program(tmp_path, "parent", textwrap.dedent(code) + SLEEPER)])
    try:
        left_behind = int(child_pid.read_text())
        os.kill(supervisor.pids()["parent"], signal.SIGKILL)
        async with asyncio.timeout(SURELY_S):
            await changed.wait()

        assert not psutil.pid_exists(left_behind)
    finally:
        await supervisor.stop()


@pytest.fixture
def somebody_elses() -> Iterator[subprocess.Popen[bytes]]:
    """A child that was there before; such as the database of the test session that this runs in."""
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        yield process
        process.kill()


async def test_children_that_were_there_before_it_outlive_it(
    tmp_path: Path, somebody_elses: subprocess.Popen[bytes]
) -> None:
    changed = asyncio.Event()
    supervisor = Supervisor(lambda _line: None, changed.set)
    await supervisor.start([program(tmp_path, "sleeper", SLEEPER)])
    os.kill(supervisor.pids()["sleeper"], signal.SIGKILL)
    async with asyncio.timeout(SURELY_S):
        await changed.wait()
    await supervisor.stop()

    assert somebody_elses.poll() is None


async def test_a_program_that_ends_at_its_start_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    supervisor = Supervisor(lambda _line: None, lambda: None)

    with pytest.raises(StartError, match=r"(?s)broken ended with exit code 3.*no luck today"):
        await supervisor.start([program(tmp_path, "broken", "print('no luck today', flush=True); sys.exit(3)")])

    await supervisor.stop()


async def test_a_command_that_fails_is_reported(tmp_path: Path) -> None:
    supervisor = Supervisor(lambda _line: None, lambda: None)

    await supervisor.run(program(tmp_path, "fine", "sys.exit(0)"))
    with pytest.raises(StartError, match="failed with exit code 1"):
        await supervisor.run(program(tmp_path, "wrong", "raise SystemExit('wrong')"))


def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    up = tmp_path / "up"
    command = (sys.executable, "-c", f"import pathlib, signal\n{STUBBORN}")
    code = f"""
    from pathlib import Path
    from deploy.local.process import Child, Program
    child = Child(Program("stubborn", {command!r}, Path({str(tmp_path / "log")!r}), {{"UP": {str(up)!r}}}))
    print(child.pid, flush=True)
    while child.exit_code is None: pass
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    eventually(up.exists, within_s=SURELY_S, what="the child runs")
    assert child.is_running()

    parent.kill()
    parent.communicate()

    assert psutil.wait_procs([child], timeout=SURELY_S)[0] == [child]
