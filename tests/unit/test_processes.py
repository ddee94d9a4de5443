"""Processes by name: stale pid files, reused pids, stubborn processes, ports."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from deploy.local.ports import Ports, is_free
from deploy.local.processes import Processes, start_time
from deploy.local.setup import make_master_key
from deploy.local.stack import Stack
from deploy.local.tools import ToolError

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = [
    sys.executable,
    "-u",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(60)",
]


def spawn(processes: Processes, name: str, argv: list[str], cwd: Path) -> int:
    return processes.spawn(name, argv, env=dict(os.environ), cwd=cwd)


def test_a_started_process_is_known_until_it_ends(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    pid = spawn(processes, "a", SLEEP, tmp_path)
    assert processes.pid("a") == pid == int(processes.pid_file("a").read_text())
    assert processes.running() == ["a"]
    assert os.getsid(pid) == pid, "in a session of its own"
    os.kill(pid, signal.SIGKILL)
    assert processes.wait_gone(["a"], 5) == []
    assert not processes.pid_file("a").exists()


def test_a_reused_pid_is_not_ours(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    pid = spawn(processes, "a", SLEEP, tmp_path)
    os.kill(pid, signal.SIGKILL)
    processes.wait_gone(["a"], 5)
    processes.pid_file("a").write_text(f"{os.getpid()}\n")
    (tmp_path / "run" / "a.started").write_text("long ago")
    assert processes.pid("a") is None
    assert not processes.signal("a", signal.SIGKILL)


def test_a_deaf_process_is_killed(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    spawn(processes, "deaf", DEAF, tmp_path)
    while "deaf" not in processes.log_tail("deaf"):
        time.sleep(0.02)
    spawn(processes, "good", SLEEP, tmp_path)
    assert processes.stop(["deaf", "good"], 1) == ["deaf"]
    assert processes.running() == []


def test_start_time_of_nobody() -> None:
    assert start_time(2**22 + 1) is None
    assert start_time(os.getpid()) == start_time(os.getpid()) is not None


def test_ports_come_from_environment_then_memory_then_default() -> None:
    ports = Ports.from_environment({"S3_PORT": "9900"}, {"s3": 9800, "api": 8800, "gone": 1})
    assert (ports.s3, ports.api, ports.temporal) == (9900, 8800, 7233)
    picked = Ports.pick()
    assert all(1024 < port < 32768 for port in picked.as_dict().values())


def test_a_taken_port_is_named_with_its_variable(tmp_path: Path) -> None:
    ports = Ports.pick()
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports.mongod))
        other.listen()
        assert not is_free(ports.mongod)
        stack = Stack(tmp_path, ports=ports, workers=1)
        with pytest.raises(ToolError, match=rf"port {ports.mongod} for mongod is taken") as caught:
            stack.up(["mongod"])
    assert "MONGOD_PORT" in caught.value.hint


def test_the_master_key_is_made_once_and_private(tmp_path: Path) -> None:
    key = make_master_key(tmp_path / "deep" / "master.key")
    content = key.read_bytes()
    assert len(content) == 96
    assert key.stat().st_mode & 0o777 == 0o600
    assert make_master_key(key).read_bytes() == content


def test_a_stack_passes_its_environment_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("TEMPORAL_API_KEY", "of-another-server")
    monkeypatch.setenv("TIDEMARK_SYNC_WINDOW", "2")
    stack = Stack(tmp_path, ports=Ports.pick(), settings={"TIDEMARK_SYNC_WINDOW": "3"})
    environment = stack.environment
    assert environment["TIDEMARK_LOG_LEVEL"] == "DEBUG"
    assert environment["HTTPS_PROXY"] == "http://proxy.test:3128"
    assert "127.0.0.1" in environment["NO_PROXY"]
    assert "TEMPORAL_API_KEY" not in environment
    assert environment["TIDEMARK_SYNC_WINDOW"] == "3"
