"""The benchmark's source: nginx serves a lab folder as a read-only S3, on one port fast, on another slow."""

from __future__ import annotations

import http.client
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from deploy.local.paths import CHECKOUT
from deploy.local.processes import Processes
from deploy.local.services import Service, wait_ready
from deploy.local.tools import ToolError, find_nginx

__all__ = ["LIST_DELAY", "OBJECT_DELAY", "SourceServer"]

LIST_DELAY = 0.100
OBJECT_DELAY = 0.030
_MODULES = Path("/usr/lib/nginx/modules")
_HERE = Path(__file__).resolve().parent

_CONFIGURATION = """
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
{user} worker_processes 1; daemon off; pid {home}/nginx.pid; error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_timeout 75; keepalive_requests 10000000;
  etag off; server_tokens off; large_client_header_buffers 8 16k; open_file_cache off;
  default_type application/octet-stream; types {{ }}
  client_body_temp_path {home}/t1; proxy_temp_path {home}/t2; fastcgi_temp_path {home}/t3; uwsgi_temp_path {home}/t4;
  scgi_temp_path {home}/t5;
  lua_package_path '{here}/?.lua;;';
  init_by_lua_block {{ S=require('s3'); S.load('{index}',{{{names}}}) }}
  {servers}
}}
"""
_SERVER = """
  server {{ listen 127.0.0.1:{port} backlog=4096; root {root};
    add_header x-amz-request-id 0000 always;
    location = / {{ content_by_lua_block {{ S.root() }} }}
    location ~ ^/(?<bkt>[^/]+)/?$ {{ content_by_lua_block {{ {list_sleep} S.bucket() }} }}
    location ~ ^/(?<bkt>[^/]+)/(?<key>.+)$ {{
      rewrite_by_lua_block {{ {object_sleep} S.match() }}
      header_filter_by_lua_block {{ S.etag() }}
      try_files $uri =404; }}
  }}
"""


class SourceServer:
    """Started with `start`; `reload` after the index has changed."""

    def __init__(self, lab: Path, home: Path, *, fast: int, slow: int, workloads: Sequence[str]) -> None:
        self.fast = f"http://127.0.0.1:{fast}"
        self.slow = f"http://127.0.0.1:{slow}"
        self._home = home
        self._fast = fast
        self._processes = Processes(home)
        user = "user root;" if os.geteuid() == 0 else ""
        servers = _SERVER.format(port=fast, root=lab, list_sleep="", object_sleep="") + _SERVER.format(
            port=slow,
            root=lab,
            list_sleep=f"ngx.sleep({LIST_DELAY})",
            object_sleep=f"ngx.sleep({OBJECT_DELAY})",
        )
        names = ",".join(f"'{name}'" for name in workloads)
        self._configuration = _CONFIGURATION.format(
            modules=_MODULES, user=user, home=home, here=_HERE, index=lab / ".index", names=names, servers=servers
        )

    def start(self) -> None:
        """Start nginx and wait until it answers."""
        nginx = find_nginx()
        if nginx is None:
            raise ToolError("there is no nginx with Lua", "Run `make bench`, which installs it.")
        self._home.mkdir(parents=True, exist_ok=True)
        configuration = self._home / "nginx.conf"
        configuration.write_text(self._configuration)
        argv = [str(nginx), "-c", str(configuration), "-p", str(self._home)]
        service = Service("nginx", argv, lambda _pid: self._generation() is not None)
        pid = self._processes.spawn("nginx", argv, env=os.environ, cwd=CHECKOUT)
        wait_ready(service, pid, self._processes)

    def reload(self) -> None:
        """Serve the index as it is now; returns when no old process answers any more."""
        self._processes.signal("nginx", signal.SIGHUP)
        # The new worker process starts with the new index; the old one finishes what it has.
        time.sleep(1.0)
        while self._generation() is None:
            time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        self._processes.stop(["nginx"], 5)

    def _generation(self) -> int | None:
        connection = http.client.HTTPConnection("127.0.0.1", self._fast, timeout=2)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()
