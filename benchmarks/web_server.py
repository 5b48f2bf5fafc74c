"""The server that both sides fetch from: nginx on loopback, http and https; our own where nginx is missing.

/-/copy/17/PATH is PATH under one more URL. The authority that signs the certificate is made anew for each folder.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from bench import Failed

from ml_images.sample.server import serve

HOST = "127.0.0.1"
_SYSTEM_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_START_S = 10.0

_CONFIG = """daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    types {{ image/jpeg jpg jpeg; image/png png; }}
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    open_file_cache max=10000 inactive=600s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    ssl_certificate {certificate};
    ssl_certificate_key {certificate};
    server {{
        listen {host}:{http};
        listen {host}:{https} ssl;
        root {root};
        location /-/copy/ {{ rewrite ^/-/copy/[0-9]+/(.*)$ /$1 last; }}
    }}
}}
"""


@dataclass(frozen=True)
class Served:
    http: str  # both end with a slash
    https: str
    authorities: Path  # PEM: those of the system, and ours
    name: str  # of the server, for the report
    process: int


@contextmanager
def serving(root: Path, folder: Path) -> Iterator[Served]:
    """The files below `root` at two URLs; config, certificate and log go to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    authorities = folder / "authorities.pem"
    known = _SYSTEM_AUTHORITIES.read_bytes() if _SYSTEM_AUTHORITIES.exists() else b""
    authorities.write_bytes(known + authority.cert_pem.bytes())
    certificate = folder / "server.pem"
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(certificate))
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    with ExitStack() as stack:
        if program is None:
            http = stack.enter_context(serve(root))
            https = stack.enter_context(serve(root, certificate=certificate))
            yield Served(
                http.url, https.url, authorities, "ml-images sample server (nginx is not installed)", os.getpid()
            )
            return
        plain, tls = _free_port(), _free_port()
        config = folder / "nginx.conf"
        ports = {"host": HOST, "http": plain, "https": tls}
        config.write_text(_CONFIG.format(folder=folder, certificate=certificate, root=root, **ports))
        process = stack.enter_context(_nginx(program, config, plain))
        told = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
        version = told.strip().rpartition(" ")[2]
        yield Served(
            f"http://{HOST}:{plain}/", f"https://{HOST}:{tls}/", authorities, f"{version}, one process", process
        )


@contextmanager
def _nginx(program: str, config: Path, port: int) -> Iterator[int]:
    command = [program, "-c", str(config), "-e", str(config.with_name("nginx.log"))]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as server:
        try:
            _wait_for(server, port)
            yield server.pid
        finally:
            server.terminate()


def _wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_S
    while not _answers(port):
        if server.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"nginx did not start on port {port}; its log is beside its configuration")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listening:
        return int(listening.getsockname()[1])
