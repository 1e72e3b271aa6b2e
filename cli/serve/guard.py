"""Who may ask, and what a browser may do with the answers: checked before anything else looks at a request.

- **Host**: a stranger's page may have its own name lead to this machine (DNS rebinding), but its requests then carry
  that name. Only known names are answered.
- **Origin and Sec-Fetch-Site**: a browser says which page a request comes from. Nothing below /api is answered to
  another one, not even one at another port of this machine.
- **The token**: everything below /api needs it, as a cookie or as ``Authorization: Bearer``.
- **Headers**: the page runs its own scripts and styles only, is never framed, and tells nobody where it is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.responses import JSONResponse, Response

from impasto.cli.serve.settings import Settings
from impasto.text import shown

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Everything that a browser may load for the page, or do with it. There are no exceptions.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

#: The headers of every answer.
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}

#: Where the token is needed, and where it is not, below that.
API = "/api/"
OPEN = ("/api/session", "/api/openapi.json")

#: Methods that change nothing.
_READING = ("GET", "HEAD")

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(:\d{1,5})?")


class Keys:
    """The token, and the cookie that stands for it in a browser.

    The cookie is a hash of the token, so that nothing has to be remembered, and the token cannot be read from it.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._cookie = hmac.new(self._token, b"impasto serve: cookie", hashlib.sha256).hexdigest()
        self._once: str | None = None

    def lend(self, token: str) -> None:
        """Accept another token, once: a browser's command line is no secret."""
        self._once = token

    def admits(self, token: str) -> bool:
        """Whether a text is the token, or the one that was lent."""
        given = token.encode("utf-8", "surrogatepass")
        if self._once is not None and hmac.compare_digest(given, self._once.encode()):
            self._once = None
            return True
        return hmac.compare_digest(given, self._token)

    @property
    def cookie(self) -> str:
        """The cookie's value."""
        return self._cookie

    def knows(self, cookie: str) -> bool:
        """Whether a text is the cookie's value."""
        return hmac.compare_digest(cookie.encode("utf-8", "surrogatepass"), self._cookie.encode())


def cookie_name(scope: Scope) -> str:
    """Return the name of the cookie: browsers send a host's cookies to all of its ports."""
    server = scope.get("server") or ("", 0)
    return f"impasto-{server[1]}"


class Guard:
    """Answers those who may not ask, and gives every answer its headers."""

    def __init__(self, app: App, settings: Settings, keys: Keys) -> None:
        self._app, self._allowed, self._keys = app, settings.allowed, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, and pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        in_api = scope["path"].startswith(API)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                extra = {**HEADERS, "cache-control": "no-store" if in_api else "no-cache"}
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in extra.items() if name.encode() not in given),
                ]
            await send(message)

        refusal = self._refusal(scope, in_api=in_api)
        await (refusal or self._app)(scope, receive, sent)

    def _refusal(self, scope: Scope, *, in_api: bool) -> Response | None:
        """Return the answer to a request that is refused."""
        headers = _Headers(scope)
        host = headers.one("host")
        matched = _HOST.fullmatch(host or "")
        if not matched or matched[1].lower() not in self._allowed:
            return refused(403, f"host {shown(host or '')}: is not a name of this server; see --allow-host")
        if not in_api:
            return None if scope["method"] in _READING else refused(405, f"{scope['method']}: expected GET")
        site, origin = headers.one("sec-fetch-site"), headers.one("origin")
        if site not in (None, "same-origin", *(("none",) if scope["method"] in _READING else ())):
            return refused(403, f"a request from another page ({shown(site or '')}): only the page itself may ask")
        if origin is not None and origin.lower().partition("://")[2] != (host or "").lower():
            return refused(403, f"origin {shown(origin)}: is another page's; only the page itself may ask")
        if scope["path"] in OPEN and not (scope["path"] == OPEN[0] and scope["method"] == "DELETE"):
            return None
        if self._has_token(headers):
            return None
        if not self._has_cookie(scope, headers):
            return refused(401, "no token: open the address that impasto serve has printed")
        if scope["method"] not in _READING and origin is None and site is None:
            return refused(403, "no origin: a browser names the page that asks; a program gives the token itself")
        return None

    def _has_token(self, headers: _Headers) -> bool:
        kind, _, token = (headers.one("authorization") or "").partition(" ")
        return kind.lower() == "bearer" and self._keys.admits(token.strip())

    def _has_cookie(self, scope: Scope, headers: _Headers) -> bool:
        try:
            morsel = SimpleCookie(headers.one("cookie") or "").get(cookie_name(scope))
        except CookieError:
            return False
        return morsel is not None and self._keys.knows(morsel.value)


class _Headers:
    """The headers of a request. One that is given twice, where it decides something, counts as none."""

    def __init__(self, scope: Scope) -> None:
        self._given: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            self._given.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))

    def one(self, name: str) -> str | None:
        """Return a header's value."""
        values = self._given.get(name, [])
        return values[0] if len(values) == 1 else ("" if values else None)


def refused(status: int, text: str) -> JSONResponse:
    """Return an error as the answer to a request."""
    return JSONResponse({"error": text}, status)
