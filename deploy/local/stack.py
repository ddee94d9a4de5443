"""The local stack: start what does not run, wait until it answers, say where it is; and end it.

    python -m deploy.local.stack up|down [--wipe]

Everything lies under `.local/` of the root folder, so that two clones run side by side on ports of
their own. Tests and the benchmark use `Stack` with a temporary root.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from deploy.local import services, setup
from deploy.local.identities import identities, starter, write_private
from deploy.local.paths import CHECKOUT
from deploy.local.ports import Ports, is_free
from deploy.local.processes import Processes
from deploy.local.s3_source import S3Source
from deploy.local.services import Service
from deploy.local.simulators import PROVIDERS, Simulators, connect_all
from deploy.local.tools import ToolError, find_temporal

__all__ = ["Stack"]

_KILL_SECONDS = 10.0

_DATA = (
    *("blobs", "log", "mongod", "run", "s3", "simulated", "temporal.db*", "temporal.toml"),
    *("keys.json", "master.key", "ports.json", "stack.env", "lock"),
)


class Stack:
    """One local stack.

    `settings` are environment variables (`TIDEMARK_…`) for its workers and API; they win over the
    process's own environment, which wins over the stack's defaults. `say` gets one line per step.
    With `simulators`, those of Google Drive, Graph and Snowflake run beside it, and Tidemark uses them
    instead of the real services, until `down`.
    """

    def __init__(
        self,
        root: Path,
        *,
        ports: Ports | None = None,
        settings: Mapping[str, str] | None = None,
        workers: int | None = None,
        s3: str | None = None,
        simulators: bool = False,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.home = root.resolve() / ".local"
        self.processes = Processes(self.home)
        self._saved = self.home / "ports.json"
        saved = json.loads(self._saved.read_text()) if self._saved.exists() else {}
        self.ports = ports or Ports.from_environment(os.environ, saved)
        self.workers = workers or int(os.environ.get("WORKERS") or os.cpu_count() or 1)
        self.s3 = s3 or setup.s3_kind()
        self.simulators = Simulators(self.home / "simulated", self.ports)
        self._simulated = self.home / "simulated" / "in-use"
        self.simulating = simulators or self._simulated.exists()
        self._settings = dict(settings or {})
        self._say = say
        own_mongodb = f"mongodb://127.0.0.1:{self.ports.mongod}/?replicaSet=rs0"
        # stack.env sourced into a shell must not turn our own MongoDB into somebody else's.
        self.mongodb_uri = os.environ.get("MONGODB_URI") or own_mongodb
        self.own_mongod = self.mongodb_uri == own_mongodb

    # --- what it consists of

    @property
    def names(self) -> list[str]:
        """Every part, in the order in which they are started."""
        workers = [f"worker-{number}" for number in range(1, self.workers + 1)]
        simulators = self.simulators.names if self.simulating else ()
        return [*(["mongod"] if self.own_mongod else []), "temporal", "s3", *simulators, *workers, "api"]

    def service(self, name: str) -> Service:
        """How a part is started."""
        if name == "mongod":
            return services.mongod(self.home / "mongod", self.ports.mongod)
        if name == "temporal":
            return services.temporal(self.home / "temporal.db", self.ports.temporal, self.ports.temporal_ui)
        if name == "s3":
            return services.s3(self.s3, self.home / "s3", self.ports.s3)
        if name in self.simulators.names:
            return self.simulators.service(name)
        if name == "api":
            return services.api(self.ports.api)
        number = int(name.removeprefix("worker-"))
        metrics = self.ports.metrics and self.ports.metrics + number - 1
        queue = self.environment.get("TIDEMARK_TASK_QUEUE", "tidemark")
        return services.worker(number, self.ports.temporal, queue, metrics)

    @property
    def environment(self) -> dict[str, str]:
        """What every process of the stack is given."""
        # Another Temporal profile of this user must not reach our own server.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("TEMPORAL_")}
        no_proxy = ",".join(filter(None, [inherited.get("NO_PROXY"), inherited.get("no_proxy"), "127.0.0.1,localhost"]))
        defaults = {
            "TIDEMARK_MONGODB_URI": self.mongodb_uri,
            "TIDEMARK_BLOB_STORE": str(self.home / "blobs"),
            "TIDEMARK_KMS_LOCAL_KEY_FILE": str(self.home / "master.key"),
            "TIDEMARK_ALLOW_PRIVATE_ENDPOINTS": "true",
            "TIDEMARK_API_RATE_LIMITS": "off",
        }
        fixed = {
            "TIDEMARK_API_PORT": str(self.ports.api),
            "TEMPORAL_ADDRESS": f"127.0.0.1:{self.ports.temporal}",
            "TEMPORAL_NAMESPACE": "default",
            "TEMPORAL_CONFIG_FILE": str(self.home / "temporal.toml"),
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
        }
        simulated = self.simulators.settings() if self._simulated.exists() else {}
        return {**defaults, **inherited, **fixed, **simulated, **services.python_environment(), **self._settings}

    @property
    def env(self) -> dict[str, str]:
        """What stack.env says: addresses and keys. Keys are there once the API has been started."""
        keys = self.home / "keys.json"
        known: dict[str, str] = json.loads(keys.read_text()) if keys.exists() else {}
        return {
            "TIDEMARK_URL": f"http://127.0.0.1:{self.ports.api}",
            **known,
            "TEMPORAL_ADDRESS": f"127.0.0.1:{self.ports.temporal}",
            "TEMPORAL_UI_URL": f"http://127.0.0.1:{self.ports.temporal_ui}",
            "TEMPORAL_CLI": str(find_temporal() or ""),
            "MONGODB_URI": self.mongodb_uri,
            "S3_ENDPOINT_URL": f"http://127.0.0.1:{self.ports.s3}",
            "S3_ACCESS_KEY_ID": services.S3_ACCESS_KEY_ID,
            "S3_SECRET_ACCESS_KEY": services.S3_SECRET_ACCESS_KEY,
            **(self.simulators.addresses() | self._connections() if self._simulated.exists() else {}),
        }

    # --- what it does

    def up(self, names: Sequence[str] | None = None) -> dict[str, str]:
        """Start what does not run (all parts, or the named ones), wait until it answers; returns `env`."""
        wanted = [name for name in self.names if names is None or name in names]
        with self._locked():
            self._remember_ports()
            setup.make_master_key(self.home / "master.key")
            (self.home / "temporal.toml").touch()
            product = [name for name in wanted if name == "api" or name.startswith("worker-")]
            self._start([name for name in wanted if name not in product])
            if self.simulating and not self._simulated.exists():
                self._simulated.touch()
                self._stop([name for name in product if self.processes.pid(name) is not None])
            if product:
                starter(self.environment, "database", "init")
                self._start(product)
            if "api" in wanted:
                identities(self.home / "keys.json", self.environment, self.ports.api)
            if "api" in wanted and self.simulating:
                self._connect_simulators()
            lines = [f"{key}={value}" for key, value in self.env.items()]
            write_private(self.home / "stack.env", "\n".join(lines) + "\n")
        return self.env

    def start(self, name: str) -> int:
        """Start one part that does not run and wait until it answers; returns its pid."""
        self._start([name])
        pid = self.processes.pid(name)
        assert pid is not None, f"{name} answered and is gone"
        return pid

    def kill(self, name: str, number: int) -> None:
        """Send a signal to one part; after SIGKILL it is gone when this returns."""
        if not self.processes.signal(name, number):
            raise ToolError(f"{name} does not run", "Start it first.")
        deadline = time.monotonic() + _KILL_SECONDS
        ports = self.service(name).ports.values() if number == signal.SIGKILL else ()

        def gone() -> bool:
            return self.processes.pid(name) is None and all(map(is_free, ports))

        # A process with much memory dies slowly; started again too soon, it would be taken for running, and
        # a thread of it that ends last still holds its port.
        while number == signal.SIGKILL and not gone() and time.monotonic() < deadline:
            time.sleep(0.01)

    def down(self, *, wipe: bool = False) -> None:
        """End what this stack started; `wipe` removes its data too."""
        if self.home.exists():
            with self._locked():
                running = self.processes.running()
                product = [name for name in running if name == "api" or name.startswith("worker-")]
                for group in (product, [name for name in running if name not in product]):
                    self._stop(group)
                self._simulated.unlink(missing_ok=True)
        if wipe:
            self._wipe()

    def _connections(self) -> dict[str, str]:
        text = self._simulated.read_text()
        known: dict[str, str] = json.loads(text) if text else {}
        return known

    def _connect_simulators(self) -> None:
        """A connection for each simulator, and something to see in the S3 server."""
        told = {provider: self.simulators.told(provider) for provider in PROVIDERS}
        sample = S3Source("sample", self.env)
        sample.put_many((f"{number % 3}/{number:02}.txt", b"sample %d\n" % number) for number in range(20))
        sample.close()
        for provider in ("s3", "tigris"):
            told[provider] = {"source_path": sample.path, "provider_config": sample.config()}
        made = services.run(connect_all(self.env, told))
        self._simulated.write_text(json.dumps(made))
        for name, connection in made.items():
            if name.endswith("_CONNECTION"):
                provider = name.removeprefix("SIMULATED_").removesuffix("_CONNECTION")
                shown = f"simulated-{provider.lower().replace('_', '-')}  {connection}"
                self._say(f"  ✓ connection {shown}  source_path {made[f'SIMULATED_{provider}_PATH']}")

    def _wipe(self) -> None:
        """Remove what this class made, and nothing else that lies beside it."""
        for pattern in _DATA:
            for path in self.home.glob(pattern):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        with contextlib.suppress(OSError):  # something else is there
            self.home.rmdir()
        self._say(f"  ✓ removed the data in {self.home}")

    def _stop(self, group: Sequence[str]) -> None:
        if not group:
            return
        started = time.monotonic()
        killed = self.processes.stop(group, max(self.service(name).stop_seconds for name in group))
        for name in group:
            how = "did not end in time, was killed" if name in killed else "ended"
            self._say(f"  {'✗' if name in killed else '✓'} {name} {how}  {time.monotonic() - started:.1f} s")

    def _start(self, names: Sequence[str]) -> None:
        fresh: list[tuple[Service, int, float]] = []
        for name in names:
            if self.processes.pid(name) is not None:
                self._say(f"  ✓ {name} runs already")
                continue
            service = self.service(name)
            self._check_ports(service)
            environment = {**self.environment, **service.environment}
            pid = self.processes.spawn(name, service.argv, env=environment, cwd=CHECKOUT)
            fresh.append((service, pid, time.monotonic()))
        for service, pid, started in fresh:
            services.wait_ready(service, pid, self.processes)
            self._say(f"  ✓ {service.name} answers  {time.monotonic() - started:.1f} s")

    def _check_ports(self, service: Service) -> None:
        for name, port in service.ports.items():
            if not is_free(port):
                variable = self.ports.variable(name)
                raise ToolError(
                    f"port {port} for {service.name} is taken by another program",
                    f"End that program, or choose another port with {variable}=…, then run it again.",
                )

    def _remember_ports(self) -> None:
        ports = self.ports.as_dict()
        saved = {**ports, **json.loads(self._saved.read_text())} if self._saved.exists() else ports
        if saved != ports and self.processes.running():
            raise ToolError(
                "this stack runs on other ports", "Run `make down` first, then `make up` with the new ports."
            )
        self._saved.write_text(json.dumps(ports))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One `make up` or `make down` at a time."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("up", "down"))
    parser.add_argument("--wipe", action="store_true", help="remove the data too")
    arguments = parser.parse_args()
    simulators = os.environ.get("SIMULATORS", "0") not in {"", "0"}
    try:
        if arguments.command == "up":
            setup.prepare("up", simulators=simulators)
        stack = Stack(CHECKOUT, simulators=simulators, say=lambda line: print(line, flush=True))
        if arguments.command == "down":
            stack.down(wipe=arguments.wipe)
            return 0
        env = stack.up()
    except ToolError as error:
        print(f"  ✗ {error}\n    {error.hint}", file=sys.stderr)
        return 1
    print(f"\n  API          {env['TIDEMARK_URL']}")
    print(f"  Temporal UI  {env['TEMPORAL_UI_URL']}")
    print(f"  S3           {env['S3_ENDPOINT_URL']} ({stack.s3})")
    print(f"  MongoDB      {env['MONGODB_URI']}")
    print("  keys and addresses: .local/stack.env   logs: .local/log/   pids: .local/run/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
