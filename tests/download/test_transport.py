"""What every transport promises, said once more as types: the real one keeps it."""

from ml_images.download.config import FetchConfig
from ml_images.download.curl import CurlTransport
from ml_images.download.transport import Request, Transport


def test_the_real_transport_is_one() -> None:
    transport: Transport = CurlTransport(FetchConfig())
    assert transport.num_in_flight == transport.bytes_in_flight == 0
    assert transport.poll(0) == []
    transport.close()


def test_requests_are_told_apart_by_identity() -> None:
    def accept(status: int, headers: object) -> None:
        return None

    first, second = (Request("http://a.test/", 1.0, accept) for _ in range(2))
    assert first != second and len({first, second}) == 2
