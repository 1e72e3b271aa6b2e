"""A server that ends, or is ended, and one that goes on where it was."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from serving import LONG, QUICK, Server, Starter

if sys.platform == "win32":
    pytest.skip("these tests send signals", allow_module_level=True)


def states(server: Server) -> dict[str, str]:
    """Return the states of all runs, in the order in which they are told."""
    return {run["id"]: run["state"] for run in server.get("/api/runs").data["runs"]}


def evaluations(server: Server, key: str) -> list[int]:
    """Return the evaluations in a run's log."""
    return [json.loads(line)["evaluation"] for line in server.get(f"/api/runs/{key}/log").body.splitlines()]


def logged(server: Server, key: str) -> int:
    """Return how many evaluations a run's log has, while there is no server."""
    return len((server.data / "runs" / key / "log.jsonl").read_bytes().splitlines())


def pid_of(server: Server, key: str) -> int:
    """Return the process of a run."""
    pid: int = json.loads((server.data / "runs" / key / "run.json").read_text())["pid"]
    return pid


def test_a_queue_of_three_survives_that_the_server_is_killed_in_the_second(start_server: Starter) -> None:
    server = start_server()
    first = server.submit()
    server.wait(first, "done")
    second, third = server.submit(LONG), server.submit({**QUICK, "seed": 3})
    made = server.wait(second, "running", step=5)["step"]["evaluation"]
    picture = server.get(f"/api/runs/{first}/result.png").body
    server.process.kill()
    server.process.wait()

    again = start_server()
    assert states(again) == {second: "running", third: "waiting", first: "done"}
    assert again.get(f"/api/runs/{first}/result.png").body == picture
    # its process went on meanwhile, and is watched again
    assert again.wait(second, "running", step=made + 5)["step"]["evaluation"] > made
    again.ask("POST", f"/api/runs/{second}/stop")
    assert again.wait(second, "stopped")["result"]["reason"] == "interrupted"
    assert evaluations(again, second) == [*range(1, len(evaluations(again, second)) + 1)]
    again.wait(third, "done")


def test_a_run_that_is_killed_with_the_server_goes_on_from_its_checkpoint(start_server: Starter) -> None:
    server = start_server()
    key = server.submit(LONG)
    server.wait(key, "running", step=5)
    checkpoint = server.data / "runs" / key / "checkpoint.impasto"
    until = time.monotonic() + 30
    while not checkpoint.exists() and time.monotonic() < until:
        time.sleep(0.1)
    pid = pid_of(server, key)
    server.process.kill()
    server.process.wait()
    os.kill(pid, signal.SIGKILL)
    made = logged(server, key)

    again = start_server()
    run = again.wait(key, "running", step=made + 2)
    assert any(line.startswith("resuming checkpoint.impasto after evaluation ") for line in run["messages"])
    again.ask("POST", f"/api/runs/{key}/stop")
    assert again.wait(key, "stopped")["can_resume"]
    record = again.get(f"/api/runs/{key}/record").data
    assert len(record["outcome"]["resumed"]) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_end_leaves_in_order(start_server: Starter, number: int) -> None:
    server = start_server()
    key, waiting = server.submit(LONG), server.submit()
    server.wait(key, "running", step=3)
    pid = pid_of(server, key)
    with server.events() as events:
        assert server.end(number) == 0
        told = {data["id"]: (data["state"], data["position"]) for name, data in events if name == "run"}  # to its end
    assert told == {key: ("waiting", 1), waiting: ("waiting", 2)}
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert "ending: the present run keeps its checkpoint" in server.messages
    assert (server.data / "runs" / key / "checkpoint.impasto").exists()
    made = logged(server, key)

    again = start_server()
    listed = states(again)
    assert [*listed] == [key, waiting] and listed[key] in ("waiting", "running")
    assert any("resuming" in line for line in again.wait(key, "running", step=made + 2)["messages"])
    again.ask("POST", f"/api/runs/{key}/cancel")
    again.wait(waiting, "done")


def test_a_run_that_ends_while_there_is_no_server_is_found_done(start_server: Starter) -> None:
    server = start_server()
    key = server.submit({**QUICK, "evaluations": 400})
    server.wait(key, "running", step=1)
    pid = pid_of(server, key)
    server.process.kill()
    server.process.wait()
    until = time.monotonic() + 60
    while time.monotonic() < until and Path(f"/proc/{pid}").exists() and "Z" not in _status(pid):
        time.sleep(0.1)
    again = start_server()
    assert again.wait(key, "done")["result"]["evaluations"] == 400


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_two_runs_at_a_time_where_the_memory_lasts(start_server: Starter) -> None:
    server = start_server("--jobs", 2)
    keys = [server.submit(LONG) for _ in range(3)]
    for key in keys[:2]:
        server.wait(key, "running", step=2)
    assert server.run(keys[2])["state"] == "waiting" and server.get("/api/choices").data["jobs"] == 2
    server.ask("POST", f"/api/runs/{keys[0]}/cancel")
    server.wait(keys[2], "running", step=2)


def test_a_second_server_is_kept_from_the_folder(start_server: Starter, small_model: Path) -> None:
    server = start_server()
    with pytest.raises(AssertionError, match="another impasto serve is using it; end that, or name another folder"):
        Server.start(server.data, small_model)


def test_a_time_limit_that_is_over_does_not_bind_the_run_that_goes_on(start_server: Starter) -> None:
    server = start_server()
    key = server.submit({**LONG, "time_limit": 0.5})
    done = server.wait(key, "done")
    assert "time limit" in done["result"]["reason"] and done["can_resume"]
    server.ask("POST", f"/api/runs/{key}/resume")
    on = server.wait(key, "running", step=done["result"]["evaluations"] + 5)
    assert "time_limit" not in on["request"]["options"]
