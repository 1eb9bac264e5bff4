"""Real Postgres and NATS servers as child processes: a free loopback port each, their own data folder, gone at the end.

`start` returns once the server says that it is ready. `kill` is SIGKILL, `stop` a clean end, `freeze` SIGSTOP; `start`
after `kill` or `stop` serves the same data on the same port.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import psutil

from deploy.local import nats, postgres
from deploy.local.ports import Ports

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 60.0
_PASSWORD = "test"


def free_port() -> int:
    """Find a loopback port that nobody listens on and no outgoing connection is given."""
    ports = Ports()
    number = ports.reserve("test")
    ports.release("test")
    return number


def halt(processes: list[psutil.Process]) -> None:
    """SIGSTOP, and wait until the last thread of each has halted: until then one may still answer."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            while any(psutil.Process(thread.id).status() != psutil.STATUS_STOPPED for thread in process.threads()):
                time.sleep(0.001)


class Server:
    """One server process: what kinds of server have in common."""

    ready_word = ""
    stop_signal = signal.SIGTERM
    abandon_signal = signal.SIGTERM

    def __init__(self, data: Path, *, port: int | None = None) -> None:
        self.data = data
        self.port = port or free_port()
        self.last_lines: deque[str] = deque(maxlen=50)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._ready = threading.Event()

    def command(self) -> list[str]:
        """Tell the command line."""
        raise NotImplementedError

    def user_id(self) -> int | None:
        """Tell who the process runs as; None: the one who runs this."""
        return None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Tell whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process and wait until it serves."""
        assert not self.running, "the server runs already"
        self._ready.clear()
        self._process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            user=self.user_id(),
            group=self.user_id(),
            extra_groups=None if self.user_id() is None else [],
            cwd=self.data,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        if not self._ready.wait(START_TIMEOUT_S) or not self.running:
            self.kill()
            raise RuntimeError(f"{type(self).__name__} did not start:\n" + "\n".join(self.last_lines))

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self.last_lines.append(line.rstrip())
                if self.ready_word in line:
                    self._ready.set()
        self._ready.set()  # it ended: nobody need wait for it

    def kill(self) -> None:
        """End the process and its children at once, with no chance to tidy up."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the process as an operator would."""
        self._end(self.stop_signal)

    def abandon(self) -> None:
        """End the process whose data nobody needs any more."""
        self._end(self.abandon_signal)

    def freeze(self) -> None:
        """Halt the process and its children: their sockets stay open and nobody answers."""
        parent = psutil.Process(self.pid)
        halt([parent, *parent.children(recursive=True)])

    def thaw(self) -> None:
        """Let the process go on."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, how: signal.Signals) -> None:
        """Signal the process, then its children: Postgres gives each of them a process group of its own."""
        parent = psutil.Process(self.pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(how)

    def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            if how is signal.SIGKILL:
                self._signal_all(how)
            else:
                process.send_signal(how)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._signal_all(signal.SIGKILL)
            process.wait()
        self._process = None
        if self._reader is not None:
            self._reader.join(STOP_TIMEOUT_S)
            if process.stdout is not None and not self._reader.is_alive():
                process.stdout.close()


class PostgresServer(Server):
    """PostgreSQL as the local platform starts it, but for settings that only a test may have."""

    ready_word = "database system is ready to accept connections"
    stop_signal = signal.SIGINT  # a fast shutdown: sessions are ended, data is flushed
    abandon_signal = signal.SIGQUIT  # an immediate one: data is not flushed, which a hundred databases take a while for

    def command(self) -> list[str]:
        """A test's data need not survive a power cut."""
        settings = {"fsync": "off", "full_page_writes": "off", "unix_socket_directories": str(self.data)}
        return [*postgres.command(self.data, self.port, max_connections="200", **settings)]

    def user_id(self) -> int | None:
        """Postgres refuses to run as root."""
        return postgres.user_id()

    def prepare(self) -> None:
        """Make the data folder."""
        postgres.prepare(self.data, _PASSWORD)

    def dsn(self, database: str = postgres.DATABASE) -> str:
        """Tell how to connect."""
        return postgres.dsn(self.port, _PASSWORD, database)

    def socket_dsn(self, database: str = postgres.DATABASE) -> str:
        """Tell how to connect over the socket in the data folder."""
        return f"postgresql://{postgres.USER}:{_PASSWORD}@/{database}?host={self.data}&port={self.port}&sslmode=disable"

    def new_database(self) -> str:
        """Make an empty database and tell how to connect to it."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.sql(f"CREATE DATABASE {name}")
        return self.dsn(name)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement as an operator would, and give what it prints."""
        flags = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement, self.dsn(database)]
        command = [postgres.binary("psql"), *flags]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=START_TIMEOUT_S)
        server = "\n".join(["the server runs:" if self.running else "the server has ended:", *self.last_lines])
        assert done.returncode == 0, f"{statement}: {done.stderr.strip()}\n{server}"
        return done.stdout.strip()


class NatsServer(Server):
    """NATS with JetStream on a file store."""

    ready_word = "Server is ready"

    def command(self) -> list[str]:
        """Listen on loopback and keep the store in the data folder."""
        return [str(nats.binary()), "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.data)]

    @property
    def url(self) -> str:
        """Where to connect."""
        return f"nats://127.0.0.1:{self.port}"

    def lose_store(self) -> None:
        """Forget all streams; only while it does not run."""
        assert not self.running, "the server must be stopped first"
        for child in self.data.iterdir():
            shutil.rmtree(child)


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a fresh Postgres."""
    with _data_folder("imagineo-postgres-") as data:
        server = PostgresServer(data)
        server.prepare()
        server.start()
        try:
            yield server
        finally:
            server.abandon()


@contextlib.contextmanager
def nats_server() -> Iterator[NatsServer]:
    """Run a fresh NATS."""
    with _data_folder("imagineo-nats-") as data:
        server = NatsServer(data)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def _data_folder(prefix: str) -> Iterator[Path]:
    data = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield data
    finally:
        shutil.rmtree(data, ignore_errors=True)
