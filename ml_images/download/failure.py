"""What libcurl's errors mean: the outcome of a request that it could not finish."""

import errno

import pycurl

_BROKEN = frozenset((pycurl.E_COULDNT_CONNECT, pycurl.E_GOT_NOTHING, pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR))
_TLS = frozenset(
    (
        pycurl.E_SSL_CONNECT_ERROR,
        pycurl.E_PEER_FAILED_VERIFICATION,
        pycurl.E_SSL_CERTPROBLEM,
        pycurl.E_SSL_CIPHER,
        pycurl.E_SSL_ISSUER_ERROR,
        pycurl.E_SSL_INVALIDCERTSTATUS,
    )
)
# Our own mistakes and a machine at its end; no host may be blamed for them.
_OURS = frozenset(
    (
        pycurl.E_FAILED_INIT,
        pycurl.E_OUT_OF_MEMORY,
        pycurl.E_BAD_FUNCTION_ARGUMENT,
        pycurl.E_UNKNOWN_OPTION,
        pycurl.E_ABORTED_BY_CALLBACK,  # a callback that meant to would have named the outcome
        pycurl.E_SSL_CACERT_BADFILE,
    )
)
_LOST = frozenset((errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED))
_UNEXPECTED_END = "unexpected eof"  # OpenSSL: TCP ended where TLS had not, so whatever came may be cut
# E_RECV_ERROR is for the network and for what libcurl refuses in an answer; only the message tells which.
_NETWORK = ("Recv failure", "OpenSSL SSL_read")


def outcome_of(code: int, message: str, os_error: int, has_header: bool) -> str:
    """The outcome for an error code of libcurl. Raises RuntimeError for an error that is ours."""
    if code in _OURS:
        raise RuntimeError(f"libcurl cannot work: error {code}, {message}")
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return "timeout"
    if code == pycurl.E_PARTIAL_FILE or (has_header and _UNEXPECTED_END in message):
        return "truncated"
    if code == pycurl.E_COULDNT_RESOLVE_HOST:
        return "dns_error"
    if code == pycurl.E_RECV_ERROR and not message.startswith(_NETWORK):
        return "http_error"
    if code in _BROKEN:
        return "connect_error"
    if code in _TLS:
        return "connect_error" if os_error in _LOST or _UNEXPECTED_END in message else "tls_error"
    return "http_error"
