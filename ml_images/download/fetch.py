"""One attempt at one URL: redirects followed, status named, body read within its bounds."""

import http.client
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from urllib.parse import urljoin

import requests
from urllib3.exceptions import DecodeError, HTTPError, ProtocolError, ReadTimeoutError

from ml_images.download.address import Refusal
from ml_images.download.config import FetchConfig
from ml_images.download.placeholder import is_placeholder_url
from ml_images.download.retry import retry_after_s
from ml_images.download.session import Session
from ml_images.download.url import is_web_url

_CHUNK = 64 * 1024
# A body that nobody wants is read up to here, to keep the connection; a longer one costs the connection instead.
_DRAIN = 64 * 1024
_BY_STATUS = {401: "forbidden", 403: "forbidden", 404: "not_found", 408: "timeout", 410: "not_found"}
_BY_STATUS |= {429: "rate_limited", 451: "forbidden"}


@dataclass(frozen=True)
class Answer:
    """What one attempt brought. `outcome` ok: a complete body, about whose bytes nothing is known yet."""

    outcome: str
    final_url: str  # where the last request went, or would have gone
    status: int | None = None
    content_type: str | None = None
    retry_after_s: float | None = None
    body: bytes | None = None  # without its content encoding


def fetch_once(url: str, session: Session, cfg: FetchConfig, deadline: float) -> Answer:
    """The answer to a GET of `url`, over before `deadline` (of time.monotonic). Every failure of the network, the host
    or its answer is an outcome; nothing is raised for them."""
    session.deadline.until = deadline
    answer = _get(url, session, cfg)
    followed = 0
    while isinstance(answer, _Redirect):
        if answer.outcome is not None or followed == cfg.max_redirects:
            return Answer(answer.outcome or "redirect_error", answer.target, answer.status)
        followed += 1
        answer = _get(answer.target, session, cfg)
    if followed and answer.outcome == "bad_url":
        return replace(answer, outcome="redirect_error")
    return answer


@dataclass(frozen=True)
class _Redirect:
    target: str
    status: int
    outcome: str | None  # why it is not followed


def _get(url: str, session: Session, cfg: FetchConfig) -> Answer | _Redirect:
    left = session.deadline.until - time.monotonic()
    if left <= 0:
        return Answer("timeout", url)
    timeout = (min(cfg.connect_timeout_s, left), min(cfg.read_timeout_s, left))
    try:
        response = session.get(url, stream=True, allow_redirects=False, timeout=timeout)
    except Refusal as refusal:
        return Answer(refusal.outcome, url)
    except requests.RequestException as error:
        return Answer(_outcome_of_request(error), url)
    with response:
        if response.is_redirect:
            _drain(response)
            return _redirect(url, response)
        return _read(url, response, cfg)


def _redirect(url: str, response: requests.Response) -> _Redirect:
    # http.client reads headers as Latin-1, hosts write UTF-8.
    location = response.headers["location"].encode("latin-1").decode("utf-8", errors="replace")
    try:
        target = urljoin(url, location)
    except ValueError:
        return _Redirect(location, response.status_code, "redirect_error")
    outcome = None
    if not is_web_url(target):
        outcome = "redirect_error"
    elif is_placeholder_url(target):
        outcome = "placeholder"  # the picture itself need not be fetched
    return _Redirect(target, response.status_code, outcome)


def _read(url: str, response: requests.Response, cfg: FetchConfig) -> Answer:
    status, content_type = response.status_code, response.headers.get("content-type")
    if status != 200:
        _drain(response)
        outcome = "server_error" if status >= 500 else _BY_STATUS.get(status, "http_error")
        wait = retry_after_s(response.headers.get("retry-after"), datetime.now(timezone.utc))
        return Answer(outcome, url, status, content_type, wait)
    outcome, body = _body(response, cfg.max_bytes)
    return Answer(outcome, url, status, content_type, body=body)


def _body(response: requests.Response, max_bytes: int) -> tuple[str, bytes | None]:
    if (response.raw.length_remaining or 0) > max_bytes:
        return "too_large", None
    parts, total = [], 0
    try:
        for part in response.raw.stream(_CHUNK, decode_content=True):
            total += len(part)
            if total > max_bytes:
                return "too_large", None
            parts.append(part)
    except HTTPError as error:
        return _outcome_of_body(error), None
    return "ok", b"".join(parts)


def _drain(response: requests.Response) -> None:
    length = response.raw.length_remaining
    if length is None or length > _DRAIN:
        return
    try:
        response.raw.read(decode_content=False)
    except HTTPError:
        return  # the status was all that was wanted


def _outcome_of_body(error: HTTPError) -> str:
    if isinstance(error, ReadTimeoutError):
        return "timeout"
    if isinstance(error, DecodeError):
        return "http_error"  # called gzip, but is not
    if isinstance(error, ProtocolError) and not isinstance(error.__cause__, OSError):
        return "truncated"  # the end came before Content-Length or the last chunk
    return "connect_error"


def _outcome_of_request(error: requests.RequestException) -> str:
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        return "bad_url"
    if isinstance(error, requests.exceptions.SSLError):
        return "tls_error"
    if isinstance(error, requests.exceptions.Timeout):
        return "timeout"
    if isinstance(error, requests.exceptions.ConnectionError) and not _is_no_http(error):
        return "connect_error"
    return "http_error"


def _is_no_http(error: requests.RequestException) -> bool:
    """Did something answer that is no HTTP (a status line of noise, headers without end)?"""
    causes = [cause for wrapped in error.args if isinstance(wrapped, ProtocolError) for cause in wrapped.args]
    return any(
        isinstance(cause, http.client.HTTPException) and not isinstance(cause, http.client.RemoteDisconnected)
        for cause in causes
    )
