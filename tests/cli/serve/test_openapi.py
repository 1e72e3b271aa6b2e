"""The description of the API is true: it has all routes, and every answer is of the form that it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from serving import QUICK, Server, png
from starlette.routing import Route

from impasto.cli.serve.app import DESCRIPTION, Site
from impasto.cli.serve.guard import OPEN, Keys
from impasto.cli.serve.settings import Settings

jsonschema = pytest.importorskip("jsonschema")

API: dict[str, Any] = json.loads(DESCRIPTION.read_text("utf-8"))

#: Every operation: (method, path).
OPERATIONS = {(method, path) for path, methods in API["paths"].items() for method in methods}


def check(schema: dict[str, Any], data: Any) -> None:
    """Compare data with a schema of the description."""
    whole = {**schema, "components": API["components"]}
    jsonschema.Draft202012Validator(whole).validate(data)


class Described:
    """A client that compares every answer with the description, and remembers what it has asked for."""

    def __init__(self, server: Server) -> None:
        self.server, self.asked = server, set[tuple[str, str]]()

    def __call__(self, method: str, path: str, data: Any = None, *, body: bytes | None = None, **values: str) -> Any:
        operation = API["paths"][path][method]
        self.asked.add((method, path))
        if data is not None:
            check(operation["requestBody"]["content"]["application/json"]["schema"], data)
        place = path.partition("?")[0]
        for name, value in values.items():
            place = place.replace(f"{{{name}}}", value)
        answer = self.server.ask(method.upper(), place, data, body=body)
        status = str(answer.status)
        assert status in operation["responses"], (path, answer.status, answer.body)
        kinds = operation["responses"][status].get("content")
        if not kinds:
            assert answer.body == b""
            return None
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind in kinds or (kind.startswith("image/") and "image/*" in kinds)
        if "schema" not in kinds.get(kind, {}):
            return answer.body
        check(kinds[kind]["schema"], answer.data)
        return answer.data


def test_the_description_is_valid_and_its_references_lead_somewhere() -> None:
    assert API["openapi"].startswith("3.1.")
    for schema in API["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)

    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if "$ref" in part else []
            return own + [one for value in part.values() for one in references(value)]
        return [one for value in part for one in references(value)] if isinstance(part, list) else []

    for reference in references(API):
        found = API
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]
    used = {reference.rpartition("/")[2] for reference in references(API)}
    assert set(API["components"]["schemas"]) <= used | {"Event"}
    names = [operation["operationId"] for methods in API["paths"].values() for operation in methods.values()]
    assert len(set(names)) == len(names)


def test_the_description_has_every_route_and_no_other(tmp_path: Path) -> None:
    app = Site(Settings(tmp_path, tmp_path, "token"), Keys("token")).routes()
    routes = {
        (method.lower(), route.path)
        for route in app
        if isinstance(route, Route) and route.path.startswith("/api")
        for method in (route.methods or ())
        if method != "HEAD"
    }
    assert routes == OPERATIONS
    public = {path for method, path in OPERATIONS if API["paths"][path][method].get("security") == []}
    assert public == set(OPEN)


def test_every_answer_is_of_the_form_that_the_description_says(server: Server) -> None:
    ask = Described(server)
    assert ask("get", "/api/openapi.json") == API
    ask("post", "/api/session", {"token": server.token})
    ask("delete", "/api/session")
    choices = ask("get", "/api/choices")
    assert {option["name"] for option in choices["options"]} >= {
        "size",
        "init",
        "content_mask",
        "style_mask",
        "oversize",
    }
    assert "model" not in {option["name"] for option in choices["options"]}
    picture = ask("post", "/api/pictures", body=png())["id"]
    for path in ("", "/info", "/shown", "/thumbnail"):
        ask("get", f"/api/pictures/{{picture}}{path}", picture=picture)
    request = {"content": picture, "styles": [picture], "options": QUICK}
    ask("post", "/api/estimate", request)
    with server.events() as events:
        waiting = ask("post", "/api/runs", {**request, "options": {**QUICK, "evaluations": 50_000}})["id"]
        run = ask("post", "/api/runs", request)["id"]
        ask("patch", "/api/runs/{run}", {"position": 1}, run=run)
        server.wait(waiting, "running", step=2)
        ask("post", "/api/runs/{run}/stop", run=waiting)
        for name, data in events:
            check({"$ref": "#/components/schemas/Event"}, {"event": name, "data": data})
            if name == "run" and data["id"] == run and data["state"] == "done":
                break
    server.wait(waiting, "stopped")  # whichever of the two came first
    ask("post", "/api/runs/{run}/resume", {}, run=waiting)
    ask("post", "/api/runs/{run}/cancel", run=waiting)
    ask("get", "/api/runs")
    for path in ("", "/preview", "/thumbnail", "/result.png", "/result.jpg", "/record", "/log", "/events"):
        ask("get", f"/api/runs/{{run}}{path}", run=run)
    made = ask("post", "/api/pictures", body=server.get(f"/api/runs/{run}/result.png").body)
    assert made["record"]["loss"] == server.run(run)["result"]["loss"]
    ask("delete", "/api/runs/{run}", run=waiting)
    assert ask.asked | {("get", "/api/events")} == OPERATIONS


def test_errors_are_of_the_form_that_the_description_says(server: Server) -> None:
    schema = API["components"]["responses"]["Error"]["content"]["application/json"]["schema"]
    for answer in (
        server.ask("GET", "/api/choices", token=False),
        server.ask("GET", "/api/choices", headers={"Host": "evil.example"}),
        server.ask("GET", "/api/runs/x"),
        server.ask("PUT", "/api/runs"),
        server.ask("POST", "/api/runs", body=b"{"),
        server.ask("POST", "/api/pictures", body=b"x"),
    ):
        assert answer.status >= 400
        check(schema, answer.data)
