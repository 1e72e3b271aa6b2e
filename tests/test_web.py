"""The client fetches what lies at an address, never more than allowed, and says why where it cannot."""

from __future__ import annotations

import base64
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from impasto import __version__, web

DATA = bytes(range(256)) * 800


# --- a server -------------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Answers a path with what `answers` has for it; what waits for `closing` is let go at the end."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Callable[[Handler], None]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.closing = threading.Event()
        self.scheme = "http"

    def url(self, path: str = "/photo.png") -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        self.server.answers.get(self.path.partition("?")[0], lambda handler: handler.send(404))(self)

    def send(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield from serve(Server())


@pytest.fixture
def other() -> Iterator[Server]:
    yield from serve(Server())


def fetch(url: str, *, size: int = 10**8, seconds: float = 120.0, silence: float = 15.0) -> bytes:
    return web.fetch(url, size=size, seconds=seconds, silence=silence)


def refusal(url: str, **limits: float) -> str:
    with pytest.raises(web.FetchError) as refused:
        fetch(url, **limits)  # type: ignore[arg-type]
    text = str(refused.value)
    assert "\n" not in text
    return text


def redirect(handler: Handler, target: str, status: int = 302) -> None:
    handler.send(status, Location=target)


# --- the web: what is fetched ---------------------------------------------------------------------------------


def test_pictures_are_fetched_by_a_program_that_says_its_name(server: Server) -> None:
    server.answers["/photo.png"] = lambda handler: handler.send(200, DATA, Content_Length=str(len(DATA)))
    assert fetch(server.url()) == DATA
    ((_, headers),) = server.asked
    assert headers["User-Agent"] == f"impasto/{__version__}"


def test_length_may_be_unknown(server: Server) -> None:
    server.answers["/photo.png"] = lambda handler: handler.send(200, DATA)
    assert fetch(server.url()) == DATA


def chunked(handler: Handler, *, whole: bool = True) -> None:
    handler.protocol_version = "HTTP/1.1"
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (DATA[:1000], DATA[1000:]))
    handler.send(200, body + b"0\r\n\r\n" if whole else body[:-5000], Transfer_Encoding="chunked")
    handler.close_connection = True


def test_chunks_are_put_together(server: Server) -> None:
    server.answers["/photo.png"] = chunked
    assert fetch(server.url()) == DATA


def test_a_server_that_keeps_the_connection_open_is_not_waited_for(server: Server) -> None:
    def keep_open(handler: Handler) -> None:
        handler.send(200, DATA, Content_Length=str(len(DATA)))
        server.closing.wait()

    server.answers["/photo.png"] = keep_open
    assert fetch(server.url()) == DATA


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/my photo.png", "/my%20photo.png"),
        ("/my%20photo.png", "/my%20photo.png"),
        ("/Tübingen.png?größe=1 0#x", "/T%C3%BCbingen.png?gr%C3%B6%C3%9Fe=1%200"),
        ("", ""),
    ],
)
def test_addresses_are_taken_as_people_write_them(server: Server, path: str, asked: str) -> None:
    server.answers[asked.partition("?")[0] or "/"] = lambda handler: handler.send(200, DATA)
    assert fetch(server.url(path)) == DATA
    assert server.asked[0][0] == (asked or "/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(server: Server, status: int) -> None:
    server.answers["/old/photo.png"] = lambda handler: redirect(handler, "../photo.png?new", status)
    server.answers["/photo.png"] = lambda handler: handler.send(200, DATA)
    assert fetch(server.url("/old/photo.png")) == DATA
    assert [path for path, _ in server.asked] == ["/old/photo.png", "/photo.png?new"]


def hop(handler: Handler) -> None:
    left = int(handler.path.partition("?")[2])
    if left:
        redirect(handler, f"/hop?{left - 1}")
    else:
        handler.send(200, DATA)


def test_redirects_are_followed_so_often_and_no_more(server: Server) -> None:
    server.answers["/hop"] = hop
    assert fetch(server.url("/hop?5")) == DATA
    server.asked.clear()
    assert "redirects more than 5 times" in refusal(server.url("/hop?6"))
    assert len(server.asked) == 6


def credentials(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def test_a_user_and_password_are_sent_to_their_own_server_only(server: Server, other: Server) -> None:
    url = server.url("/moved").replace("://", "://ann:p%40ss@")
    server.answers["/moved"] = lambda handler: redirect(handler, "/here")
    server.answers["/here"] = lambda handler: redirect(handler, other.url())
    other.answers["/photo.png"] = lambda handler: handler.send(200, DATA)
    assert fetch(url) == DATA
    assert [headers.get("Authorization") for _, headers in server.asked] == [credentials("ann", "p@ss")] * 2
    assert ["Authorization" in headers for _, headers in other.asked] == [False]
    assert "@" not in server.asked[0][1]["Host"]


def test_proxies_of_the_environment_are_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url(""))
    server.answers["http://nowhere.invalid/photo.png"] = lambda handler: handler.send(200, DATA)
    assert fetch("http://nowhere.invalid/photo.png") == DATA


# --- the web: what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "the server answers 404 Not Found; check the address"),
        (403, "the server answers 403 Forbidden; it asks for a permission"),
        (503, "the server answers 503 Service Unavailable; try again later"),
        (799, "the server answers 799; try again later"),
        (304, "the server answers 304 Not Modified"),
        (302, "the server answers 302 Found"),  # but not where to
    ],
)
def test_other_answers_than_a_picture_are_explained(server: Server, status: int, reason: str) -> None:
    server.answers["/photo.png"] = lambda handler: handler.send(status)
    assert reason in refusal(server.url())


def test_no_secret_is_in_an_explanation(server: Server) -> None:
    url = server.url("/photo.png?token=S3CR3T").replace("://", "://ann:S3CR3T@")
    server.answers["/photo.png"] = lambda handler: handler.send(401)
    assert "S3CR3T" not in refusal(url)
    server.answers["/photo.png"] = lambda handler: redirect(handler, "ftp://ann:S3CR3T@host/")
    assert "S3CR3T" not in refusal(url)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/photo.png", "data:image/png;base64,AAAA"])
def test_other_schemes_are_refused(url: str) -> None:
    scheme = url.partition(":")[0]
    assert f"is {scheme}:, and only http: and https: are fetched" in refusal(url)


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/photo.png", "data:image/png;base64,AAAA"])
def test_redirects_to_other_schemes_are_refused(server: Server, target: str) -> None:
    server.answers["/photo.png"] = lambda handler: redirect(handler, target)
    assert f"redirects to {target.partition(':')[0]}:, and only" in refusal(server.url())


@pytest.mark.parametrize(
    "url", ["https://", "http:///photo.png", "https:/host/photo.png", "http://h:port/", "http://["]
)
def test_addresses_that_are_none_are_refused(url: str) -> None:
    assert "is no valid address; expected one like https://example.org/photo.jpg" in refusal(url)


def test_too_many_bytes_are_refused_where_declared_and_where_not(server: Server) -> None:
    most = len(DATA) - 1
    server.answers["/declared"] = lambda handler: handler.send(200, b"", Content_Length=str(len(DATA)))
    server.answers["/chunked"] = chunked
    server.answers["/endless"] = lambda handler: handler.send(200, DATA * 50)
    for path in ("/declared", "/chunked", "/endless"):
        assert "is more than 0.204799 MB; make it smaller" in refusal(server.url(path), size=most)
    server.answers["/exact"] = lambda handler: handler.send(200, DATA[1:])
    assert fetch(server.url("/exact"), size=most) == DATA[1:]


def test_a_declared_length_is_not_believed_to_be_small(server: Server) -> None:
    server.answers["/photo.png"] = lambda handler: handler.send(200, DATA, Content_Length="100")
    assert fetch(server.url()) == DATA[:100]


def test_answers_that_break_off_are_refused(server: Server) -> None:
    server.answers["/photo.png"] = lambda handler: handler.send(200, DATA[:100], Content_Length=str(len(DATA)))
    assert f"broke off after 100 of {len(DATA)} bytes" in refusal(server.url())
    server.answers["/photo.png"] = lambda handler: chunked(handler, whole=False)
    assert "the server's answer cannot be understood (IncompleteRead)" in refusal(server.url())


def test_a_server_that_hangs_up_is_refused(server: Server) -> None:
    server.answers["/photo.png"] = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    assert "the server's answer cannot be understood (RemoteDisconnected)" in refusal(server.url())


def test_a_silent_server_is_refused(server: Server) -> None:
    server.answers["/photo.png"] = lambda handler: server.closing.wait() and None
    assert "no answer for 0.2 seconds" in refusal(server.url(), silence=0.2)


@pytest.mark.parametrize("part", ["header", "body"])
def test_a_server_that_never_ends_is_refused(server: Server, part: str) -> None:
    def drip(handler: Handler) -> None:
        if part == "body":
            handler.send(200)
        else:
            handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
        while not server.closing.wait(0.01):
            handler.wfile.write(b"x")

    server.answers["/photo.png"] = drip
    assert "took longer than 0.3 seconds" in refusal(server.url(), seconds=0.3)


def test_servers_that_are_not_there_are_refused() -> None:
    with socket.socket() as unused:  # bound, but not listening
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert "cannot be fetched (Connection refused)" in refusal(f"http://127.0.0.1:{port}/photo.png")
    assert "the server is not found" in refusal("http://nowhere.invalid/photo.png")


# --- TLS ------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that only itself vouches for, with its key."""
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("needs openssl to make a certificate")
    path = tmp_path / "server.pem"
    command = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [*command.split(), "-keyout", path, "-out", tmp_path / "public.pem"], check=True, capture_output=True
    )
    path.write_text(path.read_text() + (tmp_path / "public.pem").read_text())
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[Server]:
    server = Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.scheme = "https"
    server.answers["/photo.png"] = lambda handler: handler.send(200, DATA)
    yield from serve(server)


@pytest.mark.usefixtures("server")
def test_servers_that_cannot_prove_who_they_are_are_refused(secure: Server) -> None:
    assert "the server cannot prove who it is (self" in refusal(secure.url())


@pytest.mark.usefixtures("server")
def test_servers_with_a_trusted_certificate_are_fetched_from(
    secure: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert fetch(secure.url()) == DATA


def test_servers_that_speak_no_tls_are_refused(server: Server) -> None:
    assert "no secure connection (" in refusal(server.url().replace("http:", "https:"))
