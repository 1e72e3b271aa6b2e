"""``impasto serve``: a page to paint in, on this machine."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from impasto import packages
from impasto.cli import options
from impasto.cli.command import examples
from impasto.cli.options import FILE, FOLDER, WHOLE_NUMBER, option
from impasto.cli.terminal.messages import say, warn
from impasto.defaults import DEFAULT_RECIPE, SERVE_HOST, SERVE_PORT

if TYPE_CHECKING:
    import socket

    from impasto.cli.serve.guard import Keys
    from impasto.cli.serve.settings import Settings

#: The group of options about who may see the page.
_NETWORK = "Who may open it"


@examples(
    "impasto serve",
    "impasto serve --no-browser --port 9000 --data paintings",
)
def serve(
    data: Annotated[
        Path | None,
        option(
            value=FOLDER,
            help="Where pictures, runs and results are kept.",
            default="serve in the user's data folder",
        ),
    ] = None,
    browser: Annotated[bool, option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    jobs: Annotated[
        int,
        option(value=WHOLE_NUMBER, min=1, help="How many runs go on at a time, as long as the memory lasts."),
    ] = 1,
    port: Annotated[
        int | None,
        option(
            value=WHOLE_NUMBER,
            min=0,
            max=65535,
            help="The port.",
            default=f"{SERVE_PORT}, or a free one",
            panel=_NETWORK,
        ),
    ] = None,
    host: Annotated[
        str,
        option(value="ADDRESS", help="The address to listen at; one of others' needs --token-file.", panel=_NETWORK),
    ] = SERVE_HOST,
    allow_host: Annotated[
        list[str] | None,
        option(
            "--allow-host",
            value="NAME",
            help="Another name that the page is reached by; may be repeated.",
            panel=_NETWORK,
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        option(
            "--token-file",
            value=FILE,
            help="The token that opens the page; made, if there is none.",
            default="a new token every time",
            panel=_NETWORK,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        option(
            "--tls-cert",
            value=FILE,
            help="Speak https, with this certificate, in PEM format.",
            default="none",
            panel=_NETWORK,
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        option("--tls-key", value=FILE, help="The key of the certificate.", default="in the same file", panel=_NETWORK),
    ] = None,
    model: options.Model = None,
    json: options.Json = False,
) -> None:
    """Open a page in the browser to paint in: on this machine, for whoever has its token.

    What is made there are files in the folder --data; runs go on where they were when it is started again.
    """
    from impasto import user_folders
    from impasto.cli.terminal.interrupt import Phase, within
    from impasto.runtime.errors import InputError

    try:
        from impasto.cli.serve import server
        from impasto.cli.serve.guard import Keys
        from impasto.cli.serve.settings import Settings
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; to serve a page, {packages.SERVE}") from None

    _check_network(host, allow_host or [], token_file, tls_cert, tls_key)
    folder = _model(model)
    settings = Settings(
        data=(data or user_folders.data() / "serve").absolute(),
        model=folder.absolute(),
        token=server.read_token(token_file) if token_file else server.new_token(),
        host=host,
        names=tuple(allow_host or ()),
        jobs=jobs,
        named_model=str(model) if model else None,
        encrypted=tls_cert is not None,
    )
    keys = Keys(settings.token)
    phase = Phase(
        "left at once; the next impasto serve goes on with what was painted",
        "ending: the present run keeps its checkpoint, and goes on with the next impasto serve",
    )
    wanted, or_another = (SERVE_PORT, True) if port is None else (port, False)
    with server.sole_use(settings.data), server.listening(host, wanted, or_another=or_another) as own, within(phase):
        server.serve(
            settings,
            keys,
            own,
            (tls_cert, tls_key) if tls_cert else None,
            lambda: phase.signalled,
            lambda: _tell(settings, keys, own, browser=browser, json=json),
        )


def _check_network(
    host: str, names: list[str], token_file: Path | None, tls_cert: Path | None, tls_key: Path | None
) -> None:
    """Refuse to be open to others unless all is said that this needs, and say what it means."""
    from impasto.cli.serve.settings import is_loopback
    from impasto.runtime.errors import InputError

    if tls_key and not tls_cert:
        raise InputError("--tls-key: is the key of which certificate? name it with --tls-cert")
    if is_loopback(host):
        return
    if token_file is None:
        raise InputError(
            f"--host {host}: others in the network can reach that address, and whoever has the token can paint here, "
            "and see all that was painted; keep a token of your own with --token-file FILE"
        )
    if host in ("0.0.0.0", "::") and not names:
        raise InputError(f"--host {host}: by which name or address will the page be opened? say so with --allow-host")
    if tls_cert is None:
        warn(
            "whoever can listen in this network reads the token and the pictures; encrypt them with --tls-cert and "
            "--tls-key, or leave out --host and forward the port with ssh -L"
        )


def _model(named: Path | None) -> Path:
    """Return the model folder; where there is none, and none is named, one is exported."""
    from impasto.export import ensure
    from impasto.runtime.model.default import default_model, find_model
    from impasto.runtime.model.folder import ModelFolder

    if named is None and default_model() is None:
        return ensure(None, DEFAULT_RECIPE, notify=say)
    return ModelFolder.open(find_model(named)).path


def _tell(settings: Settings, keys: Keys, own: socket.socket, *, browser: bool, json: bool) -> None:
    """Say where the page is, and open it."""
    import secrets
    import threading
    import webbrowser

    from impasto.cli.serve.settings import is_loopback

    name = settings.names[0] if settings.names and not is_loopback(settings.host) else settings.host
    place = f"{'https' if settings.encrypted else 'http'}://{f'[{name}]' if ':' in name else name}"
    address = f"{place}:{own.getsockname()[1]}/"
    say(f"the page: {address}#token={settings.token}")
    say(f"pictures and runs: {settings.data}; Ctrl-C ends, and what is under way goes on the next time")
    if json:  # last: a program that has read it may rely on all else
        print(json_.dumps({"address": address, "token": settings.token, "data": str(settings.data)}), flush=True)
    if browser:
        once = secrets.token_urlsafe(32)  # others on this machine can read a browser's command line
        keys.lend(once)
        threading.Thread(target=webbrowser.open, args=(f"{address}#token={once}",), daemon=True).start()
