"""A PostgreSQL of our own: in a temporary folder, on a Unix socket, as an ordinary user, gone with its process."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from control.state.database import open_database
from control.state.engines import database_url
from tests.lab.processes import Process, wait_until

USER = "postgres"
TEMPLATE = "waypost_template"
QUICK = (
    *("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=60", "-c", "shared_buffers=16MB"),
    *("-c", "autovacuum=off", "-c", "wal_level=minimal", "-c", "max_wal_senders=0"),
)
"""Nothing here outlives the machine: durability against power cuts is PostgreSQL's own matter."""
PATIENCE_S = 240
"""For a step that takes a second on an idle machine."""
ATTEMPTS = 3


EMPTY = """
DO $$ BEGIN EXECUTE (SELECT 'TRUNCATE ' || string_agg(quote_ident(tablename), ', ') || ' RESTART IDENTITY CASCADE'
FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'); END $$
"""


def _name(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


async def migrate(url: str) -> None:
    await (await open_database(database_url(url))).close()


def bin_dir() -> Path:
    """Of the newest version installed; Debian keeps them off PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    assert found, "PostgreSQL is missing: run tools/setup.sh test"
    return found[-1].parent


def as_user(command: list[str]) -> list[str]:
    """initdb and postgres refuse root. The server dies with the test process, however that ends."""
    if os.geteuid() != 0:
        return ["setpriv", "--pdeathsig", "SIGINT", *command]
    return ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--pdeathsig", "SIGINT", *command]


@dataclass
class Postgres:
    """A running server; `create` gives a fresh database of the current form."""

    folder: Path
    process: Process | None = None
    databases: int = 0

    def url(self, name: str) -> str:
        return f"postgresql://{self.user}@/{name}?host={self.folder}"

    @property
    def user(self) -> str:
        return USER if os.geteuid() == 0 else "waypost"

    def start(self) -> None:
        """Also after `stop` or `kill`."""
        options = ("-k", str(self.folder), "-c", "listen_addresses=", *QUICK)
        self.process = Process.start(
            "postgres", as_user([str(bin_dir() / "postgres"), "-D", str(self.folder / "data"), *options]), self.folder
        )
        wait_until(self._answers, PATIENCE_S, "PostgreSQL to answer")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.running, self.process.output()
        return self._run("pg_isready", "-q", "-d", "postgres", check=False) == 0

    def stop(self) -> None:
        """Ends every connection at once, as an administrator's restart does."""
        assert self.process is not None
        self.process.popen.send_signal(signal.SIGINT)
        self.process.popen.wait(PATIENCE_S)

    def create(self, *, empty: bool = False) -> str:
        """URL of a new database."""
        self.databases += 1
        name = f"test{self.databases}"
        template = () if empty else ("--template", TEMPLATE)
        wait_until(lambda: self._made(*template, name), PATIENCE_S, "PostgreSQL to make a database")
        return self.url(name)

    def _made(self, *arguments: str) -> bool:
        """A template can be copied when the last connection to it has ended, which a busy machine delays."""
        return self._run("createdb", *arguments, accept="being accessed by other users") == 0

    def empty(self, url: str) -> None:
        """Every table but the note of its form; much quicker than another database."""
        self._run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", _name(url), "-c", EMPTY)

    def drop(self, url: str) -> None:
        self._run("dropdb", "--force", _name(url))

    def _run(self, program: str, *arguments: str, check: bool = True, accept: str | None = None) -> int:
        """The exit code; `accept`: words of the one refusal that is no failure."""
        command = [str(bin_dir() / program), "-h", str(self.folder), "-U", self.user, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})
        expected = not check or (accept is not None and accept in done.stderr)
        assert done.returncode == 0 or expected, done.stderr
        return done.returncode


class SharedPostgres:
    """The server of a test process, made when it is needed first."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._server: Postgres | None = None
        self._failures: list[Exception] = []

    def prepare(self) -> None:
        """Make it unless it is there, with some patience. What fails is told by `server`, to the tests that need it."""
        while self._server is None and len(self._failures) < ATTEMPTS:
            try:
                self._server = self._stack.enter_context(running_postgres())
            except Exception as error:  # whatever it is, it must fail these tests and no other
                self._failures.append(error)

    def server(self) -> Postgres:
        if self._server is None:
            raise AssertionError("there is no PostgreSQL to test with") from self._failures[-1]
        return self._server

    def close(self) -> None:
        self._stack.close()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server with a migrated template, for as long as the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="waypost-postgres-"))
    server = Postgres(folder)
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, USER, USER)
        command = [str(bin_dir() / "initdb"), "-D", str(folder / "data"), "-U", server.user]
        done = subprocess.run(
            as_user([*command, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        server.start()
        server._run("createdb", TEMPLATE)
        with ThreadPoolExecutor(1) as other:  # this thread may have a loop already
            other.submit(asyncio.run, migrate(server.url(TEMPLATE))).result()
        yield server
    finally:
        if server.process is not None and server.process.running:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
