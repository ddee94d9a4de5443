"""Find the binaries Tidemark needs; install those that are missing into the user's cache folder.

Every `find_*` answers at once with a path or None. Every `install_*` may take minutes, raises
`ToolError` with one sentence on what to do, and leaves nothing half-made behind: a binary appears
in the cache by an atomic rename.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from deploy.local.paths import cache_home

__all__ = [
    "ToolError",
    "find_mongod",
    "find_nginx",
    "find_rclone",
    "find_temporal",
    "find_test_server",
    "find_versitygw",
    "has_go",
    "install_nginx",
    "install_rclone",
    "install_temporal",
    "install_test_server",
    "install_versitygw",
]

TEMPORAL_MODULE = "github.com/temporalio/cli/cmd/temporal@v1.5.1"  # newer tags cannot be built by `go install`
VERSITYGW_MODULE = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
RCLONE_MODULE = "github.com/rclone/rclone@v1.76.0"
TEST_SERVER_VERSION = "1.32.1"
_NGINX_LUA = Path("/usr/share/nginx/modules-available/mod-http-lua.conf")


class ToolError(Exception):
    """A tool could not be had. `hint` is one sentence on what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def _find(name: str, *, variable: str | None = None) -> Path | None:
    """By environment variable, else PATH, else the cache."""
    named = os.environ.get(variable) if variable else None
    found = named or shutil.which(name)
    if found:
        return Path(found)
    cached = cache_home() / name
    return cached if os.access(cached, os.X_OK) else None


def find_temporal() -> Path | None:
    """The Temporal CLI with its development server."""
    return _find("temporal", variable="TEMPORAL_CLI")


def find_versitygw() -> Path | None:
    """An S3 gateway over a folder that checks signatures."""
    return _find("versitygw")


def find_rclone() -> Path | None:
    """The peer of the benchmark, at the benchmark's version: not whatever is on PATH."""
    cached = cache_home() / "rclone"
    return cached if os.access(cached, os.X_OK) else None


def find_test_server() -> Path | None:
    """Temporal's time-skipping test server."""
    return _find("temporal-test-server")


def find_nginx() -> Path | None:
    """The web server with its Lua module."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    return Path(nginx) if nginx and _NGINX_LUA.exists() else None


def find_mongod() -> Path | None:
    """On PATH, else the one of the wheel."""
    on_path = shutil.which("mongod")
    if on_path:
        return Path(on_path)
    wheel = Path(sys.prefix) / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    mongod = wheel / "site-packages" / "fiftyone" / "db" / "bin" / "mongod"
    if mongod.exists() and not os.access(mongod, os.X_OK):
        mongod.chmod(0o755)
    return mongod if mongod.exists() else None


def has_go() -> bool:
    """Whether Go programs can be built here."""
    return shutil.which("go") is not None


def install_temporal() -> Path:
    """The SDK's own download, else a build with Go (4 to 5 minutes, once)."""
    return _sdk_download("temporal") or _go_install("temporal", TEMPORAL_MODULE)


def install_versitygw() -> Path:
    """A build with Go (under a minute)."""
    return _go_install("versitygw", VERSITYGW_MODULE)


def install_rclone() -> Path:
    """A build with Go (a few minutes)."""
    return _go_install("rclone", RCLONE_MODULE)


def install_test_server() -> Path:
    """The SDK's own download, else the jar with its dependencies from Maven, behind a launcher."""
    return _sdk_download("temporal-test-server") or _maven_test_server()


def install_nginx() -> Path:
    """From Debian's packages; only the benchmark needs it."""
    apt = shutil.which("apt-get")
    if not apt:
        raise ToolError("nginx with Lua is not installed", "Install nginx and its http-lua module, then run it again.")
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    hint = "Run `apt-get install nginx-light libnginx-mod-http-lua` as root, then run it again."
    _run([*sudo, apt, "update", "-qq"], hint, environment)
    packages = ["nginx-light", "libnginx-mod-http-lua"]
    _run([*sudo, apt, "install", "-y", "-qq", "--no-install-recommends", *packages], hint, environment)
    found = find_nginx()
    if not found:
        raise ToolError("apt installed nginx, but its Lua module is not where Debian puts it", hint)
    return found


def _sdk_download(name: str) -> Path | None:
    """Let the SDK download a server; None, quickly, where its download host cannot be reached."""
    cache = cache_home()
    cache.mkdir(parents=True, exist_ok=True)

    async def start_and_stop() -> None:
        if name == "temporal":
            server = await WorkflowEnvironment.start_local(download_dest_dir=str(cache))
        else:
            server = await WorkflowEnvironment.start_time_skipping(download_dest_dir=str(cache))
        await server.shutdown()

    with contextlib.suppress(RuntimeError):  # what the SDK raises for every failed download
        asyncio.run(start_and_stop())
    downloaded = sorted(cache.glob(f"{name}-sdk-python-*"))
    if not downloaded:
        return None
    final = cache / name
    downloaded[-1].replace(final)
    return final


def _go_install(name: str, module: str) -> Path:
    if not has_go():
        raise ToolError(f"{name} is not on PATH, cannot be downloaded here, and there is no Go to build it",
                        f"Install Go or put `{name}` on PATH, then run it again.")  # fmt: skip
    cache = cache_home()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=f".{name}-") as workshop:
        environment = {**os.environ, "GOBIN": workshop, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
        hint = "Check that the Go module proxy can be reached, then run it again: it goes on where it stopped."
        _run(["go", "install", "-ldflags=-s -w", module], hint, environment)
        (Path(workshop) / name).replace(cache / name)
    return cache / name


_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>tidemark</groupId><artifactId>test-server</artifactId><version>1</version><dependencies>
<dependency><groupId>io.temporal</groupId><artifactId>temporal-test-server</artifactId><version>{version}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>2.0.16</version></dependency>
</dependencies></project>
"""

# Serial GC and the first compiler tier only: a test server lives for seconds.
_LAUNCHER = """#!/bin/sh
jars="$(dirname "$(readlink -f "$0")")/temporal-test-server-{version}"
exec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*" io.temporal.testserver.TestServer "$@"
"""


def _maven_test_server() -> Path:
    if not (shutil.which("mvn") and shutil.which("java")):
        raise ToolError(
            "the time-skipping test server cannot be downloaded here, and there is no Java and Maven to get it with",
            "Install Java 8 or newer and Maven, or put `temporal-test-server` on PATH, then run it again.",
        )
    cache = cache_home()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".test-server-") as workshop:
        pom, jars = Path(workshop) / "pom.xml", Path(workshop) / "jars"
        pom.write_text(_POM.format(version=TEST_SERVER_VERSION))
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
        hint = "Check that Maven Central can be reached, then run it again."
        _run(["mvn", "-q", "-B", "-f", str(pom), *goal], hint)
        final = cache / f"temporal-test-server-{TEST_SERVER_VERSION}"
        shutil.rmtree(final, ignore_errors=True)
        jars.replace(final)
        launcher = Path(workshop) / "launcher"
        launcher.write_text(_LAUNCHER.format(version=TEST_SERVER_VERSION))
        launcher.chmod(0o755)
        launcher.replace(cache / "temporal-test-server")
    return cache / "temporal-test-server"


def _run(argv: Sequence[str], hint: str, env: dict[str, str] | None = None) -> None:
    """Run quietly; on failure raise with the last lines of its output."""
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise ToolError(f"`{' '.join(argv[:3])} …` failed with status {done.returncode}\n{output}", hint)
