import errno

import pycurl
import pytest

from ml_images.download.failure import outcome_of

RESET, END = "Recv failure: Connection reset by peer", "OpenSSL SSL_read: error:0A000126: unexpected eof while reading"


@pytest.mark.parametrize(
    ("code", "message", "os_error", "has_header", "outcome"),
    [
        (pycurl.E_COULDNT_CONNECT, "Could not connect to server", errno.ECONNREFUSED, False, "connect_error"),
        (pycurl.E_OPERATION_TIMEDOUT, "Connection timed out after 5001 milliseconds", 0, False, "timeout"),
        (pycurl.E_GOT_NOTHING, "Empty reply from server", 0, False, "connect_error"),
        (pycurl.E_RECV_ERROR, RESET, errno.ECONNRESET, True, "connect_error"),
        (pycurl.E_RECV_ERROR, END, 0, False, "connect_error"),
        (pycurl.E_RECV_ERROR, END, 0, True, "truncated"),
        (pycurl.E_RECV_ERROR, "chunk hex-length char not a hex digit: 0x78", 0, True, "http_error"),
        (pycurl.E_PARTIAL_FILE, "end of response with 4 bytes missing", 0, True, "truncated"),
        (pycurl.E_SSL_CONNECT_ERROR, "TLS connect error", errno.ECONNRESET, False, "connect_error"),
        (pycurl.E_SSL_CONNECT_ERROR, "wrong version number", 0, False, "tls_error"),
        (pycurl.E_PEER_FAILED_VERIFICATION, "certificate has expired", 0, False, "tls_error"),
        (pycurl.E_COULDNT_RESOLVE_HOST, "Not resolving .onion address", 0, False, "dns_error"),
        (pycurl.E_BAD_CONTENT_ENCODING, "Unrecognized content encoding type", 0, True, "http_error"),
        (pycurl.E_UNSUPPORTED_PROTOCOL, "Received HTTP/0.9 when not allowed", 0, False, "http_error"),
        (123, "an error of a libcurl to come", 0, False, "http_error"),
    ],
)
def test_errors_have_their_outcome(code: int, message: str, os_error: int, has_header: bool, outcome: str) -> None:
    assert outcome_of(code, message, os_error, has_header) == outcome


@pytest.mark.parametrize("code", [pycurl.E_OUT_OF_MEMORY, pycurl.E_SSL_CACERT_BADFILE, pycurl.E_ABORTED_BY_CALLBACK])
def test_no_host_is_blamed_for_errors_of_ours(code: int) -> None:
    with pytest.raises(RuntimeError, match="libcurl cannot work"):
        outcome_of(code, "", 0, has_header=False)
