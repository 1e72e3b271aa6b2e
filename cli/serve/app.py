"""The answers to requests: the page's own files, and the API that openapi.json describes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from impasto.cli.drawing.samples import SAMPLES, sample_file
from impasto.cli.serve import limits, made, requests
from impasto.cli.serve.errors import HelperError, RequestError, StateError, TooLarge
from impasto.cli.serve.events import RUN, STEP, Hub, Watcher
from impasto.cli.serve.files import safe_name, without_folders
from impasto.cli.serve.guard import App, Guard, Keys, cookie_name, refused
from impasto.cli.serve.helper import Helper
from impasto.cli.serve.pictures import Picture, Shelf, check_bytes
from impasto.cli.serve.queue import Queue
from impasto.cli.serve.runs import JPEG, LOG, PREVIEW, RESULT, THUMBNAIL, Run
from impasto.cli.serve.settings import Settings
from impasto.cli.terminal.messages import say
from impasto.runtime.errors import InputError, PictureError

#: The page's files, and the description of the API.
PAGE, DESCRIPTION = Path(__file__).with_name("page"), Path(__file__).with_name("openapi.json")

#: For browsers: a picture's bytes never change under its id.
_LASTING = {"cache-control": "private, max-age=31536000, immutable"}

#: Kind of error -> the status of the answer.
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (RequestError, 400),
    (TooLarge, 413),
    (PictureError, 415),
    (InputError, 422),
    (StateError, 409),
    (HelperError, 503),
    (OSError, 507),
)


class Site:
    """The server's rooms, and the answers to requests for them."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self._settings, self._keys = settings, keys
        self.hub, self.helper = Hub(), Helper()
        self.shelf = Shelf(settings.data / "pictures", self.helper)
        self.queue = Queue(settings, self.hub, self.shelf)
        self._uploads = 0
        self._page = {f"/{path.name}": path for path in PAGE.iterdir() if path.is_file()}
        self._page["/"] = PAGE / "index.html"
        self._choices: dict[str, Any] = {}

    async def prepare(self) -> None:
        """Find out what can be chosen, and take the pictures that come along."""
        offered = await self.helper.ask("choices", model=str(self._settings.model))
        self.queue.options = requests.options_by_name(offered["options"])
        samples = [await self.shelf.add_sample(sample_file(name), role) for name, role in SAMPLES.items()]
        self.shelf.clear(self.queue.used() | {sample.id for sample in samples})
        self._choices = {
            **{key: value for key, value in offered.items() if key != "options"},
            "options": [
                {name: value for name, value in option.items() if name != "negative"} for option in offered["options"]
            ],
            "samples": [self._told(sample) for sample in samples],
            "limits": {
                "bytes": limits.UPLOAD.size,
                "pixels": limits.PIXELS,
                "styles": limits.STYLES,
                "waiting": limits.WAITING,
            },
            "jobs": self._settings.jobs,
        }

    def routes(self) -> list[Route]:
        """Return all that can be asked for."""
        return [
            Route("/api/openapi.json", self.description),
            Route("/api/session", self.sign_in, methods=["POST"]),
            Route("/api/session", self.sign_out, methods=["DELETE"]),
            Route("/api/choices", self.choices),
            Route("/api/pictures", self.upload, methods=["POST"]),
            Route("/api/pictures/{picture}", self.picture),
            Route("/api/pictures/{picture}/info", self.picture_info),
            Route("/api/pictures/{picture}/shown", self.picture_shown),
            Route("/api/pictures/{picture}/thumbnail", self.picture_thumbnail),
            Route("/api/estimate", self.estimate, methods=["POST"]),
            Route("/api/runs", self.runs),
            Route("/api/runs", self.submit, methods=["POST"]),
            Route("/api/runs/{run}", self.run),
            Route("/api/runs/{run}", self.move, methods=["PATCH"]),
            Route("/api/runs/{run}", self.remove, methods=["DELETE"]),
            Route("/api/runs/{run}/stop", self.stop, methods=["POST"]),
            Route("/api/runs/{run}/cancel", self.cancel, methods=["POST"]),
            Route("/api/runs/{run}/resume", self.resume, methods=["POST"]),
            Route("/api/runs/{run}/events", self.run_events),
            Route("/api/runs/{run}/preview", self.preview),
            Route("/api/runs/{run}/thumbnail", self.thumbnail),
            Route("/api/runs/{run}/result.png", self.result_png),
            Route("/api/runs/{run}/result.jpg", self.result_jpeg),
            Route("/api/runs/{run}/record", self.record),
            Route("/api/runs/{run}/log", self.log),
            Route("/api/events", self.events),
            Route("/{path:path}", self.page),
        ]

    def app(self) -> App:
        """Return the application, with its guard."""
        handlers: Mapping[Any, Any] = {HTTPException: _http_error, Exception: _unexpected} | {
            kind: _error for kind, _ in _STATUS
        }
        return Guard(Starlette(routes=self.routes(), exception_handlers=handlers), self._settings, self._keys)

    # --- the page ---------------------------------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        """One of the page's files. Their names are known; what is asked for is never part of a path."""
        if (path := self._page.get(request.url.path)) is None:
            return refused(404, "there is no such page")
        return FileResponse(path, media_type=_TYPES.get(path.suffix, "application/octet-stream"))

    async def description(self, request: Request) -> Response:
        """The description of the API."""
        return Response(DESCRIPTION.read_bytes(), media_type="application/json")

    async def sign_in(self, request: Request) -> Response:
        """Exchange the token for a cookie."""
        data = await _json(request)
        token = data.get("token") if isinstance(data, dict) else None
        if not isinstance(token, str):
            raise RequestError("session: expected the token, as a text")
        if not self._keys.admits(token):
            return refused(401, "token: is not this server's; open the address that impasto serve has printed")
        response = Response(status_code=204)
        response.set_cookie(
            cookie_name(request.scope),
            self._keys.cookie,
            path="/api",
            secure=self._settings.encrypted,
            httponly=True,
            samesite="strict",
        )
        return response

    async def sign_out(self, request: Request) -> Response:
        """Forget the cookie."""
        response = Response(status_code=204)
        response.delete_cookie(cookie_name(request.scope), path="/api")
        return response

    async def choices(self, request: Request) -> Response:
        """What a request can choose among."""
        return JSONResponse(self._choices)

    # --- pictures ---------------------------------------------------------------------------------------------

    async def upload(self, request: Request) -> Response:
        """Take a picture."""
        declared = request.headers.get("content-length", "")
        check_bytes(_number(declared) or 0)
        if self._uploads >= limits.UPLOADS:
            return refused(503, f"picture: {limits.UPLOADS} others are coming in; try again")
        self._uploads += 1
        try:
            picture = await self.shelf.add(request.query_params.get("name", "picture"), _in_time(request))
        finally:
            self._uploads -= 1
        return JSONResponse(self._told(picture), 201)

    def _told(self, picture: Picture) -> dict[str, Any]:
        """Return a picture as the API tells it."""
        told = {name: getattr(picture, name) for name in ("id", "name", "width", "height", "bytes", "sample")}
        return {**told, "record": self._made(picture) if picture.record else None}

    def _made(self, picture: Picture) -> dict[str, Any]:
        assert picture.record is not None

        def find(digest: str, name: str | None) -> str | None:
            found = self.shelf.of_digest(digest, name)
            return found.id if found else None

        command = f"impasto rerun {picture.name} --output again.png"
        return {**made.request_of(picture.record, find), "command": command}

    async def picture(self, request: Request) -> Response:
        """A picture's file. A browser keeps it as such: it shows only what the server itself has drawn."""
        picture = self._picture(request)
        return FileResponse(
            self.shelf.path(picture.id), media_type=picture.type, filename=picture.name, headers=_LASTING
        )

    async def picture_info(self, request: Request) -> Response:
        """What is known of a picture."""
        return JSONResponse(self._told(self._picture(request)))

    async def picture_shown(self, request: Request) -> Response:
        """A picture for the page."""
        path = await self.shelf.rendered(self._picture(request).id, limits.SHOWN)
        return FileResponse(path, media_type="image/png", headers=_LASTING)

    async def picture_thumbnail(self, request: Request) -> Response:
        """A small picture."""
        path = await self.shelf.rendered(self._picture(request).id, limits.THUMBNAIL)
        return FileResponse(path, media_type="image/png", headers=_LASTING)

    def _picture(self, request: Request) -> Picture:
        try:
            return self.shelf[request.path_params["picture"]]
        except InputError as error:
            raise HTTPException(404, str(error)) from None

    # --- requests ---------------------------------------------------------------------------------------------

    async def estimate(self, request: Request) -> Response:
        """Check a request, and say what it would take."""
        return JSONResponse(await self._foreseen(self._parsed(await _json(request))))

    async def submit(self, request: Request) -> Response:
        """Put a request into the queue."""
        return JSONResponse(self.queue.describe(await self._added(self._parsed(await _json(request)))), 201)

    def _parsed(self, data: Any) -> requests.Request:
        return requests.Request.parse(data, self.queue.options)

    async def _added(self, asked: requests.Request, continues: str | None = None) -> Run:
        foreseen = await self._foreseen(asked)
        names = [self.shelf[picture].name for picture in (asked.content, *asked.styles)]
        title = f"{names[0]} x {' + '.join(names[1:])}"
        return self.queue.add(asked, foreseen["command"], title, foreseen["estimate"], continues=continues)

    async def _foreseen(self, asked: requests.Request) -> dict[str, Any]:
        """Return what a request would take, and the same on a command line.

        While a run goes on, it has memory that will be free when this one begins: then the run itself is asked.
        """
        content, *styles = (str(self.shelf.path(picture)) for picture in (asked.content, *asked.styles))
        foreseen = await self._asked(
            "estimate",
            content=content,
            styles=styles,
            arguments=asked.arguments(self.queue.options, lambda picture: str(self.shelf.path(picture))),
            model=str(self._settings.model),
            oversize=self.queue.is_busy,
        )
        model = self._settings.named_model
        more = () if model is None else (f"--model={model}",)
        command = asked.command(self.queue.options, lambda picture: self.shelf[picture].name, *more)
        return {**foreseen, "command": command}

    async def _asked(self, chore: str, **arguments: Any) -> Any:
        """Ask the helper; its words name pictures without the server's folders."""
        try:
            answer = await self.helper.ask(chore, **arguments)
        except InputError as error:
            raise type(error)(without_folders(str(error), self._settings.data)) from None
        answer["messages"] = [without_folders(line, self._settings.data) for line in answer["messages"]]
        return answer

    # --- runs -------------------------------------------------------------------------------------------------

    async def runs(self, request: Request) -> Response:
        """All runs."""
        given = request.query_params.get("limit")
        if (limit := _number(given or "")) is None and given is not None:
            raise RequestError("limit: expected a whole number")
        told, over = [], 0
        for run in self.queue:
            over += run.phase.is_over
            if limit is None or over <= limit:
                told.append(self.queue.describe(run))
        return JSONResponse({"runs": told})

    async def run(self, request: Request) -> Response:
        """A run."""
        return self._answer(self._run(request))

    async def move(self, request: Request) -> Response:
        """Give a run another place in the queue."""
        run, position = self._run(request), (await _fields(request, "position"))["position"]
        if position is None or position < 1:
            raise RequestError("position: expected a whole number, 1 or more")
        self.queue.move(run, position)
        return self._answer(run)

    async def remove(self, request: Request) -> Response:
        """Remove a run."""
        self.queue.remove(self._run(request))
        return Response(status_code=204)

    async def stop(self, request: Request) -> Response:
        """Stop a run, and keep its picture."""
        run = self._run(request)
        self.queue.stop(run)
        return self._answer(run)

    async def cancel(self, request: Request) -> Response:
        """End a run, and keep nothing."""
        run = self._run(request)
        self.queue.cancel(run)
        return self._answer(run)

    async def resume(self, request: Request) -> Response:
        """Go on with a run."""
        run, evaluations = self._run(request), (await _fields(request, "evaluations"))["evaluations"]
        if evaluations is None:
            self.queue.resume(run)
            return self._answer(run)
        if not (run.phase.is_over and run.file(RESULT).exists()):
            raise StateError(f"run {run.id}: is {run.phase}; it has to have a result for that")
        return self._answer(await self._continued(run, evaluations))

    async def _continued(self, run: Run, evaluations: int) -> Run:
        """Add a run that starts from the result of another."""

        async def blocks() -> AsyncIterator[bytes]:
            yield run.file(RESULT).read_bytes()

        start = await self.shelf.add(self._file_name(run, ".png"), blocks())
        asked = run.request.to_data()
        more = {"init": {"picture": start.id}, "evaluations": evaluations, "stages": 1}
        asked["options"] = {**asked["options"], **more}
        return await self._added(self._parsed(asked), run.id)

    def _run(self, request: Request) -> Run:
        try:
            return self.queue[request.path_params["run"]]
        except KeyError:
            raise HTTPException(404, "run: there is none of that id") from None

    def _answer(self, run: Run) -> Response:
        return JSONResponse(self.queue.describe(run))

    # --- what runs make ---------------------------------------------------------------------------------------

    async def preview(self, request: Request) -> Response:
        """The best picture so far."""
        return _file(self._run(request), PREVIEW, "image/jpeg")

    async def thumbnail(self, request: Request) -> Response:
        """A small picture of the result."""
        run = self._run(request)
        await self._derived(run, THUMBNAIL, "thumbnail", side=limits.THUMBNAIL)
        return _file(run, THUMBNAIL, "image/png")

    async def result_png(self, request: Request) -> Response:
        """The result."""
        run = self._run(request)
        return _file(run, RESULT, "image/png", self._wanted_name(request, run, ".png"))

    async def result_jpeg(self, request: Request) -> Response:
        """The result as a JPEG."""
        run = self._run(request)
        await self._derived(run, JPEG, "convert")
        return _file(run, JPEG, "image/jpeg", self._wanted_name(request, run, ".jpg"))

    async def record(self, request: Request) -> Response:
        """How the result was made."""
        run = self._run(request)
        _check_there(run, RESULT)
        return JSONResponse(await self.helper.ask("record", path=str(run.file(RESULT))))

    async def log(self, request: Request) -> Response:
        """Every evaluation."""
        run = self._run(request)
        if not run.file(LOG).exists():  # it has made none yet
            return Response(media_type="application/x-ndjson")
        return Response(await asyncio.to_thread(run.file(LOG).read_bytes), media_type="application/x-ndjson")

    async def _derived(self, run: Run, name: str, chore: str, **arguments: Any) -> None:
        """Make a file of a run's result, unless it is there."""
        _check_there(run, RESULT)
        if not run.file(name).exists():
            await self.helper.ask(chore, path=str(run.file(RESULT)), to=str(run.file(name)), **arguments)

    def _wanted_name(self, request: Request, run: Run, ending: str) -> str | None:
        wanted = request.query_params.get("download", "").lower() in ("1", "true")
        return self._file_name(run, ending) if wanted else None

    def _file_name(self, run: Run, ending: str) -> str:
        """Return a name for the result of a run."""
        stems = [Path(name).stem for name in run.title.replace(" + ", " x ").split(" x ")]
        return safe_name("-".join(stems), ending)

    # --- events -----------------------------------------------------------------------------------------------

    async def events(self, request: Request) -> Response:
        """What happens to all runs."""
        return self._stream(Watcher())

    async def run_events(self, request: Request) -> Response:
        """What happens to one run, and first how it stands."""
        run = self._run(request)
        watcher = Watcher(run.id, until_over=True)
        watcher.put(RUN, run.id, self.queue.describe(run))
        if run.step and run.phase.is_going_on:
            watcher.put(STEP, run.id, {"run": run.id, "step": run.step})
        return self._stream(watcher)

    def _stream(self, watcher: Watcher) -> Response:
        return StreamingResponse(self.hub.watch(watcher, limits.HEARTBEAT), media_type="text/event-stream")


#: Ending -> the type of a page's file, whatever a system's own table says.
_TYPES = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png",
}  # fmt: skip


async def _in_time(request: Request) -> AsyncIterator[bytes]:
    """Yield the blocks of a body, if they come in time."""
    blocks, until = request.stream(), asyncio.get_running_loop().time() + limits.UPLOAD.seconds
    while True:
        left = min(limits.UPLOAD.silence, until - asyncio.get_running_loop().time())
        try:
            yield await asyncio.wait_for(anext(blocks), left)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise HTTPException(408, "the body of the request takes too long") from None


async def _json(request: Request) -> Any:
    """Return the body of a request, which is JSON."""
    data = bytearray()
    async for block in _in_time(request):
        data += block
        if len(data) > limits.JSON:
            raise HTTPException(413, f"request: more than {limits.JSON} bytes")
    try:
        return json.loads(bytes(data), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise RequestError("request: expected JSON") from None


def _number(text: str) -> int | None:
    """Return the whole number that a text is, if it is one; of very many digits, the first ones, which are enough."""
    return int(text[:18]) if text.isascii() and text.isdigit() else None


def _no_number(text: str) -> Any:
    raise ValueError(text)


async def _fields(request: Request, *names: str) -> dict[str, int | None]:
    """Return the whole numbers in the body of a request, which may be empty."""
    data = await _json(request) if request.headers.get("content-length", "0") != "0" else {}
    if not isinstance(data, dict) or set(data) - set(names):
        raise RequestError(f"request: expected {' and '.join(names)}")
    values = {name: data.get(name) for name in names}
    if odd := next((name for name, value in values.items() if value is not None and type(value) is not int), None):
        raise RequestError(f"{odd}: expected a whole number")
    return values


def _check_there(run: Run, name: str) -> None:
    if not run.file(name).exists():
        raise HTTPException(404, f"run {run.id}: has no {Path(name).stem} yet")


def _file(run: Run, name: str, kind: str, download: str | None = None) -> Response:
    """Return a file of a run."""
    _check_there(run, name)
    headers = {} if download is None else {"content-disposition": f"attachment; filename*=UTF-8''{quote(download)}"}
    return FileResponse(run.file(name), media_type=kind, headers=headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refused(error.status_code, error.detail)


async def _error(request: Request, error: Exception) -> Response:
    """Answer an error that says all in one line."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    text = f"the server's disk: {error.strerror or error}" if isinstance(error, OSError) else str(error)
    return refused(status, text)


async def _unexpected(request: Request, error: Exception) -> Response:
    """Answer, and tell the owner of the server, an error that nobody has foreseen."""
    say(f"error: {request.method} {request.url.path}: unexpected {type(error).__name__}: {error}")
    return refused(500, f"unexpected {type(error).__name__}; please report it with what impasto serve has printed")
