"""`make up` and `make down`: what is written, what is replaced, what is kept."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request

import pytest

from deploy.local.stack import Stack

PROMISED = {
    "TIDEMARK_URL",
    "TIDEMARK_API_KEY",
    "TIDEMARK_NAMESPACE",
    "TIDEMARK_API_KEY_READ",
    "TIDEMARK_API_KEY_WRITE",
    "TIDEMARK_API_KEY_2",
    "TIDEMARK_NAMESPACE_2",
    "TEMPORAL_ADDRESS",
    "TEMPORAL_UI_URL",
    "TEMPORAL_CLI",
    "MONGODB_URI",
    "S3_ENDPOINT_URL",
    "S3_ACCESS_KEY_ID",
    "S3_SECRET_ACCESS_KEY",
}


def status(stack: Stack, key: str, namespace: str) -> int:
    request = urllib.request.Request(
        f"{stack.env['TIDEMARK_URL']}/v1/buckets",
        headers={"Authorization": f"Bearer {key}", "X-Namespace": namespace},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_stack_env_says_everything_and_is_private(stack: Stack) -> None:
    file = stack.home / "stack.env"
    written = dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert written.keys() == PROMISED
    assert all(written.values())
    assert file.stat().st_mode & 0o077 == 0


def test_every_part_has_a_pid_file(stack: Stack) -> None:
    assert stack.names == ["mongod", "temporal", "s3", "worker-1", "worker-2", "api"]
    for name in stack.names:
        os.kill(int((stack.home / "run" / f"{name}.pid").read_text()), 0)


@pytest.mark.parametrize("suffix", ["", "_READ", "_WRITE"])
def test_the_keys_work(stack: Stack, suffix: str) -> None:
    env = stack.env
    assert status(stack, env[f"TIDEMARK_API_KEY{suffix}"], env["TIDEMARK_NAMESPACE"]) == 200
    assert status(stack, env["TIDEMARK_API_KEY_2"], env["TIDEMARK_NAMESPACE_2"]) == 200
    assert status(stack, "wrong", env["TIDEMARK_NAMESPACE"]) == 401


def test_up_replaces_only_what_is_gone_and_keeps_the_keys(stack: Stack) -> None:
    before = {name: stack.processes.pid(name) for name in stack.names}
    env = stack.env
    stack.kill("worker-1", signal.SIGKILL)
    stack.processes.wait_gone(["worker-1"], 5)
    assert stack.up() == env
    after = {name: stack.processes.pid(name) for name in stack.names}
    assert after.pop("worker-1") not in {None, before.pop("worker-1")}
    assert after == before


@pytest.mark.slow
def test_down_keeps_the_data(stack: Stack) -> None:
    env = stack.env
    stack.down()
    assert stack.processes.running() == []
    assert stack.up() == env
    assert status(stack, env["TIDEMARK_API_KEY"], env["TIDEMARK_NAMESPACE"]) == 200


def test_a_wiped_stack_is_gone(make_stack: object) -> None:
    assert callable(make_stack)
    small = make_stack()
    small.up(["mongod"])
    small.down(wipe=True)
    assert not small.home.exists()
