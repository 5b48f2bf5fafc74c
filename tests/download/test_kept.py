import socket

from ml_images.download.kept import is_quiet, local_name


def test_a_connection_is_quiet_until_something_or_the_end_comes() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as ours,
        listening.accept()[0] as theirs,
    ):
        assert local_name(ours.fileno()) == ours.getsockname()
        assert is_quiet(ours.fileno()) and is_quiet(theirs.fileno())
        theirs.sendall(b"x")
        assert not is_quiet(ours.fileno())
        ours.recv(1)
        assert is_quiet(ours.fileno())
        theirs.close()
        assert not is_quiet(ours.fileno())
