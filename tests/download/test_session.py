import requests

from ml_images.download.config import FetchConfig
from ml_images.download.session import open_session


def test_nothing_comes_from_the_environment(monkeypatch, server) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    url = server.on("/x", lambda h: h.reply(200, b"x"))
    with open_session(FetchConfig(allow_private=True)) as session:
        assert session.get(url, timeout=2).content == b"x"


def test_redirects_are_never_prepared_by_requests() -> None:
    response = requests.Response()
    response.status_code = 302
    response.headers["location"] = "/x"
    with open_session(FetchConfig()) as session:
        assert session.get_redirect_target(response) is None
