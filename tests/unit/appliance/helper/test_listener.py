"""The socket: handed over, or made with rights that keep others out."""

import contextlib
import os
import socket
import stat

import pytest

from appliance.helper import listener as listener_module
from appliance.helper.listener import activated_socket, made_socket
from appliance.types.errors import PrivilegeError


@pytest.fixture
def handed_over(tmp_path, monkeypatch):
    """A listening socket where systemd would have put it, on a descriptor of the test's."""

    def make(kind=socket.SOCK_SEQPACKET, *, listening=True):
        made = socket.socket(socket.AF_UNIX, kind)
        made.bind(str(tmp_path / "handed"))
        if listening:
            made.listen(1)
        monkeypatch.setattr(listener_module, "FIRST_DESCRIPTOR", made.detach())

    yield make
    if listener_module.FIRST_DESCRIPTOR != 3:
        with contextlib.suppress(OSError):  # the socket object of the test may have closed it
            os.close(listener_module.FIRST_DESCRIPTOR)


def test_ok__activated(handed_over):
    handed_over()
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": "77"}
    with activated_socket(environ, 77) as found:
        assert found.type == socket.SOCK_SEQPACKET
        assert not found.get_inheritable()
    assert environ == {}


@pytest.mark.parametrize("environ", [{}, {"LISTEN_FDS": "1", "LISTEN_PID": "76"}, {"LISTEN_FDS": "0"}])
def test_ok__not_activated(environ):
    assert activated_socket(dict(environ), 77) is None
    assert "LISTEN_FDS" not in environ or environ


@pytest.mark.parametrize(("kind", "listening"), [(socket.SOCK_STREAM, True), (socket.SOCK_SEQPACKET, False)])
def test_fail__another_kind_of_socket(handed_over, kind, listening):
    handed_over(kind, listening=listening)
    with pytest.raises(PrivilegeError, match="another kind"):
        activated_socket({"LISTEN_FDS": "1", "LISTEN_PID": "77"}, 77)


def test_fail__several_sockets():
    with pytest.raises(PrivilegeError, match="2 sockets"):
        activated_socket({"LISTEN_FDS": "2", "LISTEN_PID": "77"}, 77)


def test_ok__made_with_narrow_rights_and_a_dead_one_replaced(tmp_path):
    path = tmp_path / "run" / "helper.sock"
    made_socket(path, os.getegid()).close()
    with made_socket(path, os.getegid()):
        found = path.stat()
        assert stat.S_ISSOCK(found.st_mode)
        assert (found.st_mode & 0o777, found.st_gid) == (0o660, os.getegid())


def test_fail__a_living_one(tmp_path):
    path = tmp_path / "helper.sock"
    with made_socket(path, os.getegid()), pytest.raises(PrivilegeError, match="another helper"):
        made_socket(path, os.getegid())


def test_fail__another_file_in_its_place(tmp_path):
    path = tmp_path / "helper.sock"
    path.write_text("mine")
    with pytest.raises(PrivilegeError, match="no socket"):
        made_socket(path, os.getegid())
    assert path.read_text() == "mine"


def test_fail__folder_that_others_write(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(PrivilegeError, match="others may write"):
        made_socket(folder / "helper.sock", os.getegid())


def test_fail__folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PrivilegeError, match="cannot listen"):
        made_socket(tmp_path / "file" / "helper.sock", os.getegid())
