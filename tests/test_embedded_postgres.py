"""The development server, started for real: as root and as a user, killed, and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest

from authsvc import embedded_postgres
from authsvc.embedded_postgres import binaries, cluster, server
from tests.support.other_user import AS_ROOT, NOBODY, PYTHONPATH, python_for_everybody
from tests.support.waiting import HANGS, until

FAST = {"fsync": "off"}

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's parent-death signal")
root = pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """One data directory for many starts, in a place with a space and of difficult access."""
    parent = Path(tempfile.mkdtemp(prefix="authsvc test "))  # mode 0700
    yield parent / "data"
    shutil.rmtree(parent)


def servers_on(data_dir: Path) -> list[int]:
    """Every postgres process whose cluster lies in this directory."""
    listing = subprocess.run(["ps", "-axww", "-o", "pid=,args="], capture_output=True, check=True)
    name = cluster.name_of(data_dir.resolve() / "postgres").encode()
    return [int(line.split()[0]) for line in listing.stdout.splitlines() if name in line]


def start_in_another_process(
    data_dir: Path, *, before: str = "", python: str = sys.executable, user: int | None = None
) -> subprocess.Popen[str]:
    """A process that starts the server, says so, and waits to be killed."""
    script = f"""
        import signal
        from pathlib import Path
        from authsvc import embedded_postgres
        {before}
        server = embedded_postgres.start(Path({str(data_dir)!r}), options={FAST!r})
        print(server.url, flush=True)
        signal.pause()
    """
    return subprocess.Popen(
        [python, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        cwd="/",
    )


def process_of_the_same_user() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], user=NOBODY if AS_ROOT else None, cwd="/")


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


async def query(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_data_is_there_at_the_next_start(data_dir: Path) -> None:
    with embedded_postgres.start(data_dir) as first:
        await query(first.url, "CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")

    with embedded_postgres.start(data_dir) as second:
        assert 42 == await query(second.url, "SELECT answer FROM kept")

    assert [] == servers_on(data_dir)


async def test_text_sorts_and_folds_alike_on_every_system(data_dir: Path) -> None:
    with embedded_postgres.start(data_dir, options=FAST) as server:
        assert "authsvc C.UTF-8 UTF8" == await query(
            server.url,
            "SELECT concat_ws(' ', datname, datlocale, pg_encoding_to_char(encoding))"
            " FROM pg_database WHERE datname = current_database()",
        )
        assert "é" == await query(server.url, "SELECT lower('É')")


async def test_server_is_reachable_by_its_user_only(data_dir: Path) -> None:
    with embedded_postgres.start(data_dir, options=FAST) as server:
        assert "" == await query(server.url, "SHOW listen_addresses")
        assert 0o700 == (data_dir / "postgres").stat().st_mode & 0o777
        assert 0o600 == server.log_path.stat().st_mode & 0o777


async def test_options_reach_the_server_and_the_log_is_readable(data_dir: Path) -> None:
    with embedded_postgres.start(data_dir, options={**FAST, "log_statement": "all"}) as server:
        await query(server.url, "SELECT 'a statement to be seen'")

        assert "a statement to be seen" in server.log_path.read_text()


def test_running_server_is_found_and_a_stopped_one_is_not(data_dir: Path) -> None:
    with embedded_postgres.start(data_dir, options=FAST) as server:
        assert server.url == embedded_postgres.running_url(data_dir)

    assert embedded_postgres.running_url(data_dir) is None
    assert embedded_postgres.running_url(data_dir / "absent") is None


def test_second_start_names_the_process_that_holds_the_data(data_dir: Path) -> None:
    with embedded_postgres.start(data_dir, options=FAST):
        other = start_in_another_process(data_dir)
        _, complaint = other.communicate(timeout=HANGS)

    assert 0 != other.returncode
    assert f"(process {os.getpid()})" in complaint
    assert "AUTHSVC_DATA_DIR" in complaint


@linux
async def test_kill_9_of_the_parent_leaves_no_server_and_loses_no_data(data_dir: Path) -> None:
    parent = start_in_another_process(data_dir)
    url = first_line(parent)
    await query(url, "CREATE TABLE IF NOT EXISTS committed AS SELECT 7 AS answer")

    kill(parent)
    until(lambda: not servers_on(data_dir))

    with embedded_postgres.start(data_dir, options=FAST) as server:
        assert 7 == await query(server.url, "SELECT answer FROM committed")


async def test_server_left_by_a_dead_parent_is_replaced(data_dir: Path) -> None:
    """Where the kernel cannot end it with its parent, the next start does."""
    parent = start_in_another_process(
        data_dir,
        before="embedded_postgres.binaries.signal_on_parent_death = lambda signum: None",
    )
    first_line(parent)
    left = servers_on(data_dir)
    kill(parent)

    assert [] != left
    with embedded_postgres.start(data_dir, options=FAST) as server:
        assert 1 == await query(server.url, "SELECT 1")
        assert server.pid not in left


async def test_old_pid_file_that_names_a_strangers_process_does_not_matter(data_dir: Path) -> None:
    """After a power failure numbers begin anew, and PostgreSQL would see a rival in anybody."""
    server = embedded_postgres.start(data_dir, options=FAST)
    pid_file = data_dir / "postgres" / "postmaster.pid"
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not servers_on(data_dir))
    server.stop()
    stranger = process_of_the_same_user()
    _, rest = pid_file.read_text().split("\n", 1)
    pid_file.write_text(f"{stranger.pid}\n{rest}")

    try:
        with embedded_postgres.start(data_dir, options=FAST) as again:
            assert 1 == await query(again.url, "SELECT 1")
    finally:
        stranger.kill()
        stranger.wait()


def test_database_of_another_major_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("17\n")
    if AS_ROOT:
        os.chown(tmp_path / "postgres", NOBODY, -1)
        os.chown(tmp_path / "postgres" / "PG_VERSION", NOBODY, -1)

    with pytest.raises(embedded_postgres.EmbeddedPostgresError, match=r"PostgreSQL 17.* has 18"):
        embedded_postgres.start(tmp_path)


@root
def test_database_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("18\n")
    os.chown(tmp_path / "postgres", 12345, 12345)

    with pytest.raises(embedded_postgres.EmbeddedPostgresError, match="belongs to user id 12345"):
        embedded_postgres.start(tmp_path)


def test_data_directory_that_cannot_be_made_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(embedded_postgres.DataDirUnwritableError, match="cannot be written"):
        embedded_postgres.start(tmp_path / "file" / "data")


async def test_path_too_long_for_a_socket_is_no_obstacle(tmp_path: Path) -> None:
    data_dir = tmp_path / ("long" * 30)

    with embedded_postgres.start(data_dir, options=FAST) as server:
        assert str(data_dir) not in server.url
        assert 1 == await query(server.url, "SELECT 1")
        assert server.url == embedded_postgres.running_url(data_dir)


@linux
async def test_tiny_shared_memory_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "SHARED_MEMORY", 10**18)

    with embedded_postgres.start(tmp_path, options=FAST) as server:
        assert "mmap" == await query(server.url, "SHOW dynamic_shared_memory_type")


def test_throw_away_server_leaves_no_directory() -> None:
    with embedded_postgres.start_temporary() as server:
        assert server.data_dir.is_dir()

    assert not server.data_dir.exists()


def test_interrupted_first_start_is_made_good_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18\n")

    embedded_postgres.start(tmp_path, options=FAST).stop()

    assert not (tmp_path / "postgres.new").exists()


@root
def test_programs_out_of_reach_are_copied_to_where_nobody_can_run_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reachable = Path(tempfile.mkdtemp())
    reachable.chmod(0o755)
    monkeypatch.setattr(binaries, "COPIES", reachable / "authsvc" / "pgbin")
    monkeypatch.setattr(binaries, "_runs", lambda p: reachable in p.directory.parents)

    with embedded_postgres.start_temporary() as server:
        version = subprocess.run(
            [server.programs / "psql", server.url, "-Atc", "SHOW server_version"],
            capture_output=True,
            check=True,
            text=True,
        )

    assert version.stdout.startswith("18.")
    assert reachable in server.programs.parents
    shutil.rmtree(reachable)


@root
@linux
async def test_server_runs_as_a_normal_user_too() -> None:
    python = python_for_everybody()
    if python is None:
        pytest.skip("no Python here that another user can run")
    home = Path(tempfile.mkdtemp())
    os.chown(home, NOBODY, NOBODY)
    parent = start_in_another_process(home / "data dir", python=python, user=NOBODY)
    try:
        assert 1 == await query(first_line(parent), "SELECT 1")
        assert NOBODY == (home / "data dir" / "postgres").stat().st_uid
    finally:
        kill(parent)
        until(lambda: not servers_on(home / "data dir"))
        shutil.rmtree(home)


def test_user_without_a_name_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)

    with pytest.raises(
        embedded_postgres.EmbeddedPostgresError, match="User id 54321 has no entry in /etc/passwd"
    ):
        binaries.account()


@pytest.fixture
def stopped(data_dir: Path) -> Path:
    """The directory of a cluster whose server has stopped."""
    embedded_postgres.start(data_dir, options=FAST).stop()
    return data_dir / "postgres"


@pytest.mark.finding("11.9")
@root
@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symlink", "hard-link"])
@pytest.mark.parametrize("name", ["postmaster.pid", "PG_VERSION"])
def test_root_neither_reads_nor_writes_through_a_link_of_the_servers_account(
    stopped: Path, name: str, link: Callable[[Path, Path], None]
) -> None:
    secret = stopped.parent / "file of root"
    secret.write_text("1\nsecret of root\n")
    kept = stopped / "kept"
    (stopped / name).rename(kept) if (stopped / name).exists() else None
    link(secret, stopped / name)
    try:
        with pytest.raises(embedded_postgres.EmbeddedPostgresError) as refused:
            embedded_postgres.start(stopped.parent, options=FAST)
        assert embedded_postgres.running_url(stopped.parent) is None
    finally:
        (stopped / name).unlink()
        kept.rename(stopped / name) if kept.exists() else None

    assert f"{name} is not a file of its database" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "1\nsecret of root\n" == secret.read_text()


@pytest.mark.finding("11.9")
@root
@pytest.mark.parametrize(("owner", "mode"), [(NOBODY, 0o755), (0, 0o777), (0, 0o1777)])
def test_root_does_not_work_in_a_directory_that_others_can_write(
    tmp_path: Path, owner: int, mode: int
) -> None:
    os.chown(tmp_path, owner, -1)
    tmp_path.chmod(mode)

    with pytest.raises(embedded_postgres.EmbeddedPostgresError, match="runs as root"):
        embedded_postgres.start(tmp_path)

    assert [] == list(tmp_path.iterdir())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of a lesser account, and beside it `of root`, with files that must stay."""
    (tmp_path / "of root").mkdir(mode=0o700)
    for name in ("lock", "postgres.log"):
        (tmp_path / "of root" / name).write_text("kept")
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", NOBODY, -1)
    return tmp_path / "home"


def plant(link: Path, target: Path) -> None:
    """A link that the account has made."""
    link.symlink_to(target)
    os.chown(link, NOBODY, -1, follow_symlinks=False)


def kept(directory: Path) -> bool:
    """Whether no file of root has changed or been added."""
    return {"lock": "kept", "postgres.log": "kept"} == {
        file.name: file.read_text() for file in directory.iterdir() if file.is_file()
    } and 2 == len(list(directory.iterdir()))


@pytest.mark.finding("11.9")
@root
@pytest.mark.parametrize("way", ["data", "data/absent", "parent/of root", "link of root"])
def test_root_follows_no_link_of_a_lesser_account_to_its_data(home: Path, way: str) -> None:
    target = home.parent / "of root"
    plant(home / "data", target)
    plant(home / "parent", home.parent)
    (home / "link of root").symlink_to("data")

    with pytest.raises(embedded_postgres.EmbeddedPostgresError, match="link that user id") as told:
        embedded_postgres.start(home / way, options=FAST)

    assert not isinstance(told.value, embedded_postgres.DataDirUnwritableError)
    assert embedded_postgres.running_url(home / way) is None
    assert kept(target)


@pytest.mark.finding("11.9")
@root
def test_root_works_within_a_directory_of_another_account_and_over_its_own_links(
    home: Path,
) -> None:
    """A checkout in a container is of uid 1000."""
    (home.parent / "link").symlink_to(home)

    with embedded_postgres.start(home.parent / "link" / "data", options=FAST) as server:
        assert home.resolve() / "data" == server.data_dir
        assert server.url == embedded_postgres.running_url(home / "data")
    assert 0o711 == (home / "data").stat().st_mode & 0o777


@pytest.mark.finding("11.9")
@root
def test_lock_and_log_are_in_the_directory_that_was_checked(home: Path) -> None:
    target = home.parent / "of root"
    with ExitStack() as afterwards:
        directory = server._open_data_dir(home / "data", afterwards)
        (home / "data").rename(home / "away")
        plant(home / "data", target)

        server._lock(directory).close()
        server._new_log("postgres.log", directory.descriptor).close()

    assert kept(target)
    assert {"lock", "postgres.log"} == {file.name for file in (home / "away").iterdir()}


@pytest.mark.finding("11.9")
@root
def test_root_writes_no_pid_file_but_that_of_the_servers_account(tmp_path: Path) -> None:
    """Whoever owns a parent can put another directory in the cluster's place meanwhile."""
    (tmp_path / "postmaster.pid").write_text("1\nof root\n")

    with pytest.raises(embedded_postgres.EmbeddedPostgresError, match="is not a file of its"):
        server._end_orphan(tmp_path)

    assert "1\nof root\n" == (tmp_path / "postmaster.pid").read_text()


def test_a_circle_of_links_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(tmp_path / "one")

    with pytest.raises(embedded_postgres.DataDirUnwritableError, match="symbolic links"):
        embedded_postgres.start(tmp_path / "one")


@pytest.mark.finding("11.9")
def test_nobody_else_can_open_the_lock(data_dir: Path) -> None:
    data_dir.mkdir(exist_ok=True)
    (data_dir / "lock").touch()
    (data_dir / "lock").chmod(0o644)

    with embedded_postgres.start(data_dir, options=FAST):
        assert 0o600 == (data_dir / "lock").stat().st_mode & 0o777


@pytest.mark.finding("11.9")
def test_the_lock_is_no_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("kept")
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    (data_dir / "lock").symlink_to(target)

    with pytest.raises(embedded_postgres.EmbeddedPostgresError, match="lock is not a file"):
        embedded_postgres.start(data_dir)

    assert "kept" == target.read_text()


@pytest.mark.finding("11.9")
def test_a_refusal_never_names_a_process_of_another_program(data_dir: Path) -> None:
    stranger = process_of_the_same_user()
    try:
        with embedded_postgres.start(data_dir, options=FAST):
            (data_dir / "lock").write_text(f"{stranger.pid}\n")
            with pytest.raises(embedded_postgres.EmbeddedPostgresError) as refused:
                embedded_postgres.start(data_dir)
    finally:
        stranger.kill()
        stranger.wait()

    assert "Another authsvc runs on" in str(refused.value)
    assert str(stranger.pid) not in str(refused.value)


@pytest.mark.finding("11.9")
@root
def test_a_socket_directory_that_is_a_link_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    os.chown(target, NOBODY, -1)
    (tmp_path / "link").symlink_to(target)

    with pytest.raises(embedded_postgres.EmbeddedPostgresError, match="is not ours"):
        cluster._own_directory(tmp_path / "link", binaries.account())

    assert 0o755 == target.stat().st_mode & 0o777
