"""Strangers: what each of them tries is refused, nothing outside the data folder is touched, and the run goes on."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import socket
import struct
import sys
import sysconfig
import time
import urllib.parse
import zlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image
from serving import LONG, QUICK, Server, png

import impasto
from impasto.cli.serve import limits
from impasto.cli.serve.app import DESCRIPTION
from impasto.cli.serve.guard import HEADERS

AUDITED = Path(__file__).with_name("audited")

#: What is a secret, and no business of a client's.
SECRET = "this is a secret"

#: All that can be asked for: method and path.
OPERATIONS = [
    (method.upper(), path.replace("{run}", "x").replace("{picture}", "x"))
    for path, operations in json.loads(DESCRIPTION.read_text("utf-8"))["paths"].items()
    for method, operation in operations.items()
    if operation.get("security") != []
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, small_model: Path) -> Iterator[Server]:
    """A server with a run that goes on, which notes every file that it opens."""
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "secret.txt").write_text(SECRET)
    (folder / "secret.toml").write_text(f"description = '{SECRET}'")
    (folder / "secret.png").write_bytes(png())
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(
            "PYTHONPATH", os.pathsep.join([str(AUDITED), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        )
        patched.setenv("AUDITED", str(folder / "opened.log"))
        one = Server.start(folder / "data", small_model)
    yield one
    one.finish()


@pytest.fixture(scope="module")
def running(server: Server) -> str:
    """A run that goes on as long as all attacks."""
    key = server.submit(LONG)
    server.wait(key, "running", step=1)
    return key


@pytest.fixture(autouse=True)
def _undisturbed(server: Server, running: str) -> Iterator[None]:
    """After every attack: the run goes on, only known files were opened, nothing lies beside the data folder."""
    log = server.data.parent / "opened.log"
    read, beside = log.stat().st_size, sorted(path.name for path in server.data.parent.iterdir())
    before = server.run(running)["step"]["evaluation"]
    yield
    assert server.wait(running, "running", step=before + 1)["step"]["evaluation"] > before
    opened = [line.split(" ", 1) for line in log.read_text()[read:].splitlines()]
    for kind, text in opened:
        path = os.path.abspath(ast.literal_eval(text))  # noqa: PTH100  # of a link, its own place
        assert "secret" not in path
        assert kind == "r" or Path(path).is_relative_to(server.data) or path == os.devnull, path
        assert any(Path(path).is_relative_to(root) for root in _known(server)), path
    assert sorted(path.name for path in server.data.parent.iterdir()) == beside


def _known(server: Server) -> list[Path]:
    """Return the folders that a server may read: its own, those of code, of the model and of the machine."""
    code = [*sysconfig.get_paths().values(), *filter(None, sys.path), Path(impasto.__file__).parents[2]]
    machine = ["/proc", "/sys", os.devnull, os.environ["IMPASTO_TIMINGS"]]
    return [server.data, server.data.parents[1], *map(Path, [*code, *machine])]


def cookie_of(server: Server) -> str:
    """Return the cookie that a browser has after it has opened the address."""
    answer = server.ask("POST", "/api/session", {"token": server.token}, token=False)
    assert answer.status == 204
    cookie = answer.headers["set-cookie"]
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/api"} <= attributes
    return cookie.partition(";")[0]


def raw(server: Server, head: str, body: bytes = b"") -> bytes:
    """Send a request as it is written, and return the whole answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        answer = b""
        while block := connection.recv(65536):
            answer += block
    return answer


# --- Host, Origin, token --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "", "[::2]", "a b"]
)
@pytest.mark.parametrize("path", ["/", "/api/choices", "/api/session"])
def test_a_foreign_host_is_refused(server: Server, host: str, path: str) -> None:
    answer = server.ask("GET", path, headers={"Host": host.format(port=server.port)})
    assert answer.status in (400, 403)
    assert SECRET not in answer.body.decode() and b"<html" not in answer.body


def test_two_hosts_are_refused(server: Server) -> None:
    own = f"127.0.0.1:{server.port}"
    for hosts in (f"Host: {own}\nHost: evil.example", f"Host: evil.example\nHost: {own}", "X-Forwarded-Host: {own}"):
        assert re.match(rb"HTTP/1.1 (400|403) ", raw(server, f"GET / HTTP/1.1\n{hosts}\nConnection: close"))
    assert b" 403 " in raw(server, "GET / HTTP/1.0").partition(b"\r\n")[0]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_the_machines_own_names_are_answered(server: Server, name: str) -> None:
    assert server.ask("GET", "/api/choices", headers={"Host": f"{name}:{server.port}"}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:{other}"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://127.0.0.1:{port}.evil.example"},
        {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {},
    ],
)
def test_a_request_that_another_page_makes_with_the_browsers_cookie_changes_nothing(
    server: Server, running: str, headers: dict[str, str]
) -> None:
    given = {key: value.format(port=server.port, other=server.port + 1) for key, value in headers.items()}
    cookie = cookie_of(server)
    for method, path in (("POST", f"/api/runs/{running}/cancel"), ("DELETE", f"/api/runs/{running}")):
        answer = server.ask(method, path, headers={**given, "Cookie": cookie}, token=False)
        assert answer.status == 403 and answer.error


def test_another_page_cannot_sign_in_or_read(server: Server) -> None:
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert server.ask("POST", "/api/session", {"token": server.token}, headers=foreign, token=False).status == 403
    answer = server.ask(
        "GET", "/api/runs", headers={"Sec-Fetch-Site": "same-site", "Cookie": cookie_of(server)}, token=False
    )
    assert answer.status == 403 and "access-control-allow-origin" not in answer.headers


def test_the_page_itself_may_ask(server: Server) -> None:
    own = {"Origin": f"http://127.0.0.1:{server.port}", "Sec-Fetch-Site": "same-origin", "Cookie": cookie_of(server)}
    assert server.ask("GET", "/api/runs", headers=own, token=False).status == 200
    assert server.ask("POST", "/api/estimate", server.request(), headers=own, token=False).status == 200


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_nothing_is_told_without_the_token(server: Server, method: str, path: str) -> None:
    answer = server.ask(method, path, token=False)
    assert answer.status == 401 and answer.error == "no token: open the address that impasto serve has printed"


@pytest.mark.parametrize("token", ["", "x", "{token}x", "é", "\x00"])
def test_a_wrong_token_is_refused(server: Server, token: str) -> None:
    given = token.format(token=server.token)
    assert server.ask("POST", "/api/session", {"token": given}, token=False).status == 401
    headers = {"Authorization": f"Bearer {given}".strip("\x00"), "Cookie": f"impasto-{server.port}={server.token}"}
    assert server.ask("GET", "/api/runs", headers=headers, token=False).status == 401


def test_the_token_may_not_stand_in_an_address(server: Server) -> None:
    assert server.ask("GET", f"/api/runs?token={server.token}", token=False).status == 401


@pytest.mark.parametrize("path", ["/", "/nothing", "/api/runs", "/api/nothing", "/api/openapi.json"])
@pytest.mark.parametrize("host", ["127.0.0.1", "evil.example"])
def test_every_answer_has_the_headers_that_bind_a_browser(server: Server, path: str, host: str) -> None:
    answer = server.ask("GET", path, headers={"Host": host})
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "*" not in policy
    assert answer.headers["cache-control"] == ("no-store" if path.startswith("/api/") else "no-cache")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_the_page_can_only_be_read(server: Server, method: str) -> None:
    assert server.ask(method, "/").status == 405


# --- paths and addresses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt", "/../../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/..%5csecret.txt",
        "//etc/passwd", "/%2fetc%2fpasswd", "/{parent}/secret.txt", "/./index.html/../../secret.txt",
        "/api/pictures/..%2f..%2fsecret.txt", "/api/pictures/../../secret.txt", "/api/pictures/%2e%2e/thumbnail",
        "/api/runs/..%2f..%2fsecret.txt/log", "/api/runs/../../../secret.txt", "/api/runs/{parent}/log",
        "/api/pictures/.%00/shown", "/api/runs/file:%2f%2f%2fetc%2fpasswd/record", "/openapi.json/../app.py", "/app.py",
    ],
)  # fmt: skip
def test_no_path_of_a_client_leads_anywhere(server: Server, path: str) -> None:
    parent = urllib.parse.quote(str(server.data.parent), safe="")
    head = f"GET {path.format(parent=parent)} HTTP/1.1\nHost: 127.0.0.1\nAuthorization: Bearer {server.token}"
    answer = raw(server, f"{head}\nConnection: close")
    assert re.match(rb"HTTP/1.1 (400|404) ", answer), answer
    assert SECRET.encode() not in answer and b"root:" not in answer


@pytest.mark.parametrize(
    "place", ["../secret.png", "{folder}/secret.png", "file://{folder}/secret.png", "http://127.0.0.1:1/x.png", "-"]
)
def test_no_place_of_a_client_is_opened(server: Server, place: str) -> None:
    named = place.format(folder=server.data.parent)
    request = server.request()
    for change in (
        {"content": named},
        {"styles": [named]},
        {"options": {**QUICK, "init": {"picture": named}}},
        {"options": {**QUICK, "content_mask": {"picture": named}, "style_mask": ["#ff0000"]}},
        {"options": {**QUICK, "init": named}},
        {"options": {**QUICK, "content_mask": named}},
        {"options": {**QUICK, "style_mask": [named]}},
        {"options": {**QUICK, "recipe": named}},
        {"options": {**QUICK, "size": named}},
        {"options": {**QUICK, "model": named}},
        {"options": {**QUICK, "output": named}},
        {"options": {**QUICK, "--log": named}},
    ):
        for path in ("/api/estimate", "/api/runs"):
            answer = server.ask("POST", path, {**request, **change})
            assert answer.status in (400, 422) and answer.error, answer.body


def test_a_recipe_file_is_no_recipe_of_a_request(server: Server) -> None:
    answer = server.ask(
        "POST", "/api/runs", server.request({**QUICK, "recipe": str(server.data.parent / "secret.toml")})
    )
    assert answer.status == 400 and SECRET not in answer.error


@pytest.mark.parametrize(
    "name",
    ["../../out.png", "/etc/out.png", "C:\\out.png", "..", ".", "", "\x00.png", "a\nb.png", "con.png", ".about.json",
     "about.json", "x" * 5000 + ".png", "--output=x.png", "~/x.png", "%2e%2e%2fx.png", "\ud800.png"],
)  # fmt: skip
def test_a_files_name_stays_a_name(server: Server, name: str) -> None:
    quoted = urllib.parse.quote(name.encode("utf-8", "surrogatepass"))
    told = server.upload(png(seed=30), quoted)
    folder = server.data / "pictures" / told["id"]
    assert {path.name for path in folder.iterdir() if path.is_file()} == {"about.json", told["name"]}
    assert re.fullmatch(r"[\w][\w .,+()-]{0,119}\.png", told["name"])


def test_a_script_in_a_name_is_only_text(server: Server) -> None:
    name = "<img src=x onerror=alert(1)><script>alert(1)</script>\"';\r\nSet-Cookie: a=b.png"
    answer = server.ask("POST", f"/api/pictures?name={urllib.parse.quote(name)}", body=png(seed=31))
    assert answer.status == 201 and answer.headers["content-type"] == "application/json"
    assert not set("<>\"'\r\n&") & set(answer.data["name"])
    file = server.get(f"/api/pictures/{answer.data['id']}")
    assert file.headers["content-type"] == "image/png" and "set-cookie" not in file.headers
    assert file.headers["content-disposition"].startswith("attachment")


# --- pictures that are none -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage", "an EPS or PostScript file, which is not read"),
        (
            b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
            "an SVG drawing, which is not read",
        ),
        (
            b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg>&x;</svg>",
            "an SVG drawing",
        ),
        (b"<!doctype html><script>alert(1)</script>", "is a web page, not a picture"),
        (b"%PDF-1.7 ...", "a PDF document, which is not read"),
        (b"", "the file is empty"),
        (b"hello", "not a picture in a format that is read"),
        (png()[:200], "truncated or damaged"),
        (png(8, 8), "8x8"),
    ],
)
def test_what_is_no_picture_is_refused(server: Server, body: bytes, reason: str) -> None:
    before = sorted((server.data / "pictures").iterdir())
    for name in ("picture.png", "picture.svg", "picture.eps"):
        answer = server.ask("POST", f"/api/pictures?name={name}", body=body)
        assert answer.status == 415 and reason in answer.error, answer.body
        assert str(server.data) not in answer.error
    assert sorted((server.data / "pictures").iterdir()) == before


def bomb(side: int) -> bytes:
    """Return a grey PNG of so many pixels a side, all black, in some hundred kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(server: Server) -> None:
    body = bomb(15_000)
    assert len(body) < 1_000_000
    (helper,) = [
        child for child in psutil.Process(server.process.pid).children() if "chores" in " ".join(child.cmdline())
    ]
    before = helper.memory_info().rss
    answer = server.ask("POST", "/api/pictures?name=bomb.png", body=body)
    assert answer.status == 413 and "15000x15000 pixels; at most 200 megapixels are taken here" in answer.error
    assert helper.memory_info().rss - before < 50_000_000


def test_an_upload_of_two_gigabytes_that_says_so_is_refused_at_once(server: Server) -> None:
    own = f"Host: 127.0.0.1\nAuthorization: Bearer {server.token}"
    answer = raw(server, f"POST /api/pictures HTTP/1.1\n{own}\nContent-Length: 2000000000\nConnection: close")
    assert answer.startswith(b"HTTP/1.1 413 ") and b"picture: more than 100 MB; make it smaller" in answer


def test_an_upload_that_never_ends_is_broken_off(server: Server) -> None:
    own = f"Host: 127.0.0.1\nAuthorization: Bearer {server.token}\nTransfer-Encoding: chunked"
    block = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20))
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(f"POST /api/pictures HTTP/1.1\n{own}\n\n".replace("\n", "\r\n").encode())
        try:
            while sent < 2_000_000_000:
                connection.sendall(block)
                sent += 1 << 20
        except OSError:
            pass
    assert sent < limits.UPLOAD.size + 50_000_000
    until = time.monotonic() + 30
    while (rest := list((server.data / "pictures").glob(".*.part"))) and time.monotonic() < until:
        time.sleep(0.1)
    assert not rest
    assert psutil.Process(server.process.pid).memory_info().rss < 250_000_000


def test_a_request_in_json_is_bounded(server: Server) -> None:
    for body, status in (
        (b'{"content": "' + b"x" * limits.JSON + b'"}', 413),
        (b"[" * 100_000, 400),
        (b"\xff", 400),
        (b'{"content": NaN}', 400),
    ):
        answer = server.ask("POST", "/api/runs", body=body)
        assert answer.status == status and answer.error


def test_numbers_beyond_all_bounds_are_refused_or_cut(server: Server, running: str) -> None:
    digits = "9" * 5000
    assert server.ask("GET", f"/api/runs?limit={digits}").status == 200
    assert server.ask("GET", "/api/runs?limit=-1").status == 400
    assert server.ask("PATCH", f"/api/runs/{running}", {"position": 10**30}).status == 409
    key = server.submit()
    assert server.ask("PATCH", f"/api/runs/{key}", {"position": 10**30}).data["position"] == 1
    assert server.ask("POST", f"/api/runs/{key}/cancel").status == 200
    for text in (digits, "1e999", "-1", "true", '"1"', "null", "[]"):
        body = f'{{"position": {text}}}'.encode()
        assert server.ask("PATCH", f"/api/runs/{running}", body=body).status in (400, 409)
    for options in ({"evaluations": -(10**30)}, {"style_scale": 1e308}):
        answer = server.ask("POST", "/api/runs", server.request({**QUICK, **options}))
        assert answer.status == 422 and answer.error


# --- connections ----------------------------------------------------------------------------------------------


def test_two_hundred_slow_connections_keep_nobody_out(server: Server) -> None:
    slow = []
    try:
        for number in range(200):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            slow.append(connection)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" if number % 2 else b"")
        began = time.monotonic()
        assert server.ask("GET", "/").status == 200
        assert server.get("/api/runs").data["runs"]
        assert time.monotonic() - began < 5
        until = time.monotonic() + limits.HEAD + 20
        for number, connection in enumerate(slow):  # a byte now and then keeps none of them
            while time.monotonic() < until:
                try:
                    connection.settimeout(0.05)
                    connection.sendall(b"x" if number % 2 else b"")
                    if connection.recv(100) == b"":
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
            else:
                raise AssertionError("a slow connection is still open")
    finally:
        for connection in slow:
            connection.close()


def test_slow_bodies_end_and_leave_nothing(server: Server) -> None:
    own = f"Host: 127.0.0.1\nAuthorization: Bearer {server.token}\nContent-Length: 1000"
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(limits.UPLOADS)]
    for connection in slow:
        connection.sendall(f"POST /api/pictures HTTP/1.1\n{own}\n\n".replace("\n", "\r\n").encode() + png()[:100])
    time.sleep(1)
    answer = server.ask("POST", "/api/pictures?name=x.png", body=png())
    assert answer.status == 503 and "try again" in answer.error
    for connection in slow:
        assert b" 408 " in connection.recv(1000)
        connection.close()
    assert server.ask("POST", "/api/pictures?name=x.png", body=png()).status == 201
    assert not list((server.data / "pictures").glob(".*.part"))


def test_readers_of_events_that_never_read_cost_no_memory(server: Server, running: str) -> None:
    process = psutil.Process(server.process.pid)
    head = f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode()
    deaf = []
    for _ in range(30):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(head)
        deaf.append(connection)
    time.sleep(2)
    before, step = process.memory_info().rss, server.run(running)["step"]["evaluation"]
    for _ in range(20):  # events of a kilobyte and more, for every reader
        for _ in range(10):
            server.ask("PATCH", f"/api/runs/{running}", {"position": 1})
        time.sleep(0.2)
    assert process.memory_info().rss - before < 10_000_000
    assert server.run(running)["step"]["evaluation"] > step
    for connection in deaf:
        connection.close()


def test_a_picture_may_not_be_opened_as_a_page(server: Server) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG")
    told = server.upload(file.getvalue() + b"<script>alert(1)</script>", "x.html")
    answer = server.get(f"/api/pictures/{told['id']}")
    assert answer.headers["content-type"] == "image/png" and answer.headers["content-disposition"].startswith(
        "attachment"
    )
    assert told["name"] == "x.html.png"
