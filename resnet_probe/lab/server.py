"""The server of the lab: pages, answers as they come, and files under one folder.

Every address begins with a random token. A request without it, for another host or from another page, gets an empty
404. Nothing is asked of other servers, and the page may load nothing from them.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resnet_probe.files import write_text
from resnet_probe.lab import about
from resnet_probe.lab.engine import Engine
from resnet_probe.surgery import export
from resnet_probe.unraveled import Step

STATIC = Path(__file__).parent / "static"
LOOPBACK = "127.0.0.1"
MORE = 1.5  # times the images of one answer are those of the next
CLIENTS = 16  # pages whose newest question is known
QUESTION, STORY = 10**5, 3 * 10**7  # bytes of a request
WRONG = (ValueError, LookupError)


@dataclass(frozen=True)
class Bench:
    """A network in the lab.

    Attributes:
        engine: measures it.
        lines: command lines about it, where there are any.
        cloud: random deletions of it, as `about.cloud` finds them.
    """

    engine: Engine
    lines: about.Lines | None = None
    cloud: Sequence[tuple[int, float]] = ()


class Lab:
    """The networks of a lab, and the one thread that computes.

    Args:
        benches: the networks.
        out: folder for what is saved.
        framed: whether another page may show the lab in a frame, as a notebook does.
    """

    def __init__(self, benches: Sequence[Bench], out: Path, *, framed: bool = False) -> None:
        self.benches, self.out, self.framed = benches, out, framed
        self.token = secrets.token_urlsafe(24)
        self.worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lab")
        self.newest: OrderedDict[str, object] = OrderedDict()

    def app(self, hosts: Sequence[str]) -> ASGIApp:
        """The application, for requests to these hosts (with port)."""
        routes = [
            Route("/", self._page),
            Route("/networks", self._networks),
            Route("/ask", self._ask, methods=["POST"]),
            Route("/picture/{network:int}/{number:int}", self._picture),
            Route("/save", self._save, methods=["POST"]),
            Route("/story", self._story, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        inner = Starlette(routes=[Mount(f"/{self.token}", routes=routes)], lifespan=self._life)
        return Guard(inner, self.token, hosts, "http://127.0.0.1:* http://localhost:*" if self.framed else "'none'")

    async def compute(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run in the thread that computes, after what waits there."""
        return await asyncio.get_running_loop().run_in_executor(self.worker, work, *args)

    @asynccontextmanager
    async def _life(self, _: Starlette) -> AsyncIterator[None]:
        warming = asyncio.create_task(self._warm())
        yield
        warming.cancel()
        self.worker.shutdown(wait=False, cancel_futures=True)

    async def _warm(self) -> None:
        """Make ready what the first click on any block needs; questions come between."""
        for bench in self.benches:
            network = bench.engine.network
            for unit in network.surgical:
                await self.compute(bench.engine.make_ready, network.delete(unit.name).steps)

    # -- what is asked -------------------------------------------------------------------------------------------------

    async def _page(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def _networks(self, request: Request) -> Response:
        found = []
        for bench in self.benches:
            engine = bench.engine
            network, data = engine.network, engine.data
            paths = await self.compute(about.lengths, network, network.steps)
            profile = await self.compute(engine.profile, network.steps)
            found.append(
                {
                    "name": engine.subject.name, "units": about.units(network), "classes": list(data.classes),
                    "data": data.name, "images": len(data), "paths": paths, "profile": profile,
                    "cloud": list(bench.cloud), "saves": engine.subject.checkpoint is not None,
                }
            )  # fmt: skip
        return JSONResponse(found)

    async def _ask(self, request: Request) -> Response:
        asked = await _body(request, QUESTION)
        try:
            bench, edits, steps = self._edited(asked)
            client = str(asked["client"])[:64]
        except (*WRONG, TypeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return StreamingResponse(self._answers(bench, edits, steps, client), media_type="application/x-ndjson")

    def _edited(self, asked: Any) -> tuple[Bench, list[Any], tuple[Step, ...]]:
        bench, edits = self.benches[asked["network"]], list(asked["edits"])
        return bench, edits, bench.engine.network.edit(edits).steps

    async def _answers(
        self, bench: Bench, edits: list[Any], steps: tuple[Step, ...], client: str
    ) -> AsyncIterator[bytes]:
        """One answer a line, on more and more images; none any more when the page has asked something else."""
        engine, me = bench.engine, object()
        self.newest[client] = me
        self.newest.move_to_end(client)
        if len(self.newest) > CLIENTS:
            self.newest.popitem(last=False)
        due, done, more = engine.sample, 0, True

        def further() -> tuple[int, dict[str, Any] | None]:
            number = engine.advance(steps)
            return number, engine.answer(steps) if number >= due or number == len(engine.chunks) else None

        while done < len(engine.chunks):
            done, answer = await self.compute(further)
            if self.newest.get(client) is not me:
                return
            if answer:
                due = max(done + 1, round(MORE * done))
                yield _line(answer)
                if more:
                    more = False
                    rest = {"paths": await self.compute(about.lengths, engine.network, steps)}
                    if self.newest.get(client) is not me:
                        return
                    rest["profile"] = await self.compute(engine.profile, steps)
                    file = self.out / about.file_name(engine.subject.name, edits)
                    yield _line({**rest, "lines": bench.lines.of(edits, file) if bench.lines else []})

    def _picture(self, request: Request) -> Response:
        bench = self.benches[request.path_params["network"]]
        pixels = bench.engine.picture(request.path_params["number"])
        written = BytesIO()
        Image.fromarray(pixels).save(written, "png")
        return Response(written.getvalue(), media_type="image/png")

    async def _save(self, request: Request) -> Response:
        try:
            bench, edits, _ = self._edited(await _body(request, QUESTION))
            subject = bench.engine.subject
            if subject.checkpoint is None:
                raise ValueError("this network comes from no checkpoint; save it with net.edit(...).to_module()")
            path = self.out / about.file_name(subject.name, edits)
            network = subject.checkpoint.chain or bench.engine.network
            self.out.mkdir(parents=True, exist_ok=True)
            made = await self.compute(export, subject.checkpoint, network, edits, path)
        except (*WRONG, TypeError, OSError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"files": [str(made.weights), str(made.recipe)]})

    async def _story(self, request: Request) -> Response:
        asked = await _body(request, STORY)
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            taken = {path.name for path in self.out.glob("story*.html")}
            name = next(n for n in ("story.html", *(f"story-{i}.html" for i in range(2, 10**6))) if n not in taken)
            write_text(self.out / name, str(asked["html"]))
        except (KeyError, TypeError, OSError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"files": [str(self.out / name)]})


class Guard:
    """Lets requests with the token through, to these hosts and from their own pages; all others get nothing."""

    def __init__(self, app: ASGIApp, token: str, hosts: Sequence[str], ancestors: str) -> None:
        self.app, self.token = app, token.encode()
        self.hosts = {host.encode() for host in hosts}
        self.origins = {b"http://" + host for host in self.hosts}
        self.headers = [
            (b"content-security-policy", f"default-src 'self'; base-uri 'none'; form-action 'none'; object-src 'none'; "
             f"frame-ancestors {ancestors}".encode()),
            (b"referrer-policy", b"no-referrer"), (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"), (b"cross-origin-resource-policy", b"same-origin"),
        ]  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self.headers]
            await send(message)

        if self._lets(scope):
            return await self.app(scope, receive, guarded)
        return await Response(status_code=404)(scope, receive, guarded)

    def _lets(self, scope: Scope) -> bool:
        def all_of(name: bytes) -> list[bytes]:
            return [value for key, value in scope["headers"] if key == name]

        given = scope["path"].lstrip("/").partition("/")[0].encode()
        known = secrets.compare_digest(given, self.token)
        hosts, origins = all_of(b"host"), all_of(b"origin")
        ours = len(hosts) == 1 and hosts[0] in self.hosts and set(origins) <= self.origins
        json_only = scope["method"] in ("GET", "HEAD") or (
            scope["method"] == "POST" and all_of(b"content-type") == [b"application/json"]
        )
        return known and ours and json_only


def listen(port: int = 0, host: str = LOOPBACK) -> tuple[socket.socket, list[str]]:
    """A socket that connections wait at, and the hosts that requests to it name.

    Raises:
        OSError: the port is taken, or the address is none of this machine.
    """
    opened = socket.create_server((host, port))
    number = opened.getsockname()[1]
    return opened, [f"{name}:{number}" for name in (host, *(("localhost",) if host == LOOPBACK else ()))]


def serving(lab: Lab, hosts: Sequence[str]) -> uvicorn.Server:
    """What answers at a socket of `listen`: `serving(lab, hosts).run([opened])`."""
    return uvicorn.Server(
        uvicorn.Config(
            lab.app(hosts), log_level="warning", access_log=False, server_header=False, ws="none", lifespan="on",
            timeout_graceful_shutdown=1, limit_concurrency=200,
        )
    )  # fmt: skip


def start(lab: Lab) -> tuple[str, uvicorn.Server]:
    """Serve a lab from a thread of its own: its address, and the server, which stops when `should_exit` is set."""
    opened, hosts = listen()
    server = serving(lab, hosts)
    Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True).start()
    return f"http://{hosts[0]}/{lab.token}/", server


async def _body(request: Request, most: int) -> Mapping[str, Any]:
    """The JSON object of a request; of one that is too large or none at all, an empty one."""
    held = b""
    async for part in request.stream():
        held += part
        if len(held) > most:
            return {}
    try:
        found = json.loads(held)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, allow_nan=False).encode() + b"\n"
