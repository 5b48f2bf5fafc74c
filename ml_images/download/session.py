"""A requests session made for fetching pictures: pooled connections, nothing implicit.

No proxies or passwords from the environment, no cookies, no redirects or retries behind our back (fetch.py and retry.py
decide those), one TLS context for the process, and only connections that follow the rules of connection.py.
"""

from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from ml_images.download.config import FetchConfig
from ml_images.download.connection import CheckedPoolManager, Deadline, Network, Rules

# Kept-alive hosts of one session: with 32 threads at most 256 sockets, a quarter of the usual limit of open files.
_HOSTS = 8


class Session(requests.Session):
    """For one thread. `deadline.until` bounds all that its connections do."""

    def __init__(self, cfg: FetchConfig, network: Network) -> None:
        super().__init__()
        self.trust_env = False
        self.deadline = Deadline(cfg.read_timeout_s)
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # identity: pictures are compressed already; what comes encoded all the same is decoded.
        self.headers.update(
            {"User-Agent": cfg.user_agent, "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}
        )
        adapter = _Adapter(Rules(network, cfg.allow_private, self.deadline))
        for prefix in list(self.adapters):
            self.mount(prefix, adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None, always: to prepare a redirect, requests would read its whole body first, however long."""
        return


class _Adapter(HTTPAdapter):
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        self.poolmanager = CheckedPoolManager(self.rules, _HOSTS)

    # The TLS context verifies and knows its authorities. requests would hand it their file again for each connection.
    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        return


def open_session(cfg: FetchConfig, network: Network | None = None) -> Session:
    """A session for one thread; close it when done."""
    return Session(cfg, network or Network())
