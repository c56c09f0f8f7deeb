"""A headless Chromium, driven through its DevTools protocol, that reports what pages ask for and show."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from tornado.websocket import WebSocketClientConnection, websocket_connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: No name resolves, so a page that needs another machine is seen to fail as well as to ask.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
    "--window-size=1440,1000",  # a laptop's
)
#: Waits for the mathematics, if the page has any, and counts what a reader would see.
PROBE = """(async () => {
  const formulas = document.querySelectorAll("article .math").length;
  if (formulas && window.MathJax && MathJax.startup) await MathJax.startup.promise;
  await new Promise(done => setTimeout(() => requestIdleCallback(done), 100));
  return JSON.stringify({
    formulas, rendered: document.querySelectorAll("article mjx-container").length,
    unreadable: document.querySelectorAll("article mjx-container [data-mml-node=merror]").length,
    broken: [...document.images].filter(image => !image.complete || !image.naturalWidth).map(image => image.src),
    wide: [...document.querySelectorAll("article table")].filter(t => t.scrollWidth > t.closest("article").clientWidth)
      .map(t => t.innerText.slice(0, 80)),
    title: document.querySelector("article h1")?.textContent ?? "",
    height: document.querySelector("article")?.scrollHeight ?? 0});
})()"""


@dataclass(frozen=True)
class Visit:
    """What one page asked for and showed.

    Attributes
    ----------
    requests : tuple of str
        Every address that the page asked for, its own first.
    failures : tuple of str
        Script errors, and requests that got no answer.
    formulas, rendered, unreadable : int
        Formulas in the text; those that were typeset; those typeset as an error.
    broken : list of str
        Images that did not load.
    wide : list of str
        Tables that are wider than the text, so that their last columns are hidden; how each begins.
    title : str
        First heading of the text.
    height : int
        Pixels from the top of the text to its end.
    """

    requests: tuple[str, ...]
    failures: tuple[str, ...]
    formulas: int
    rendered: int
    unreadable: int
    broken: list[str]
    wide: list[str]
    title: str
    height: int


def visit(addresses: list[str]) -> list[Visit]:
    """Open each address in a fresh browser without a network and report on it."""
    return _in_browser(lambda endpoint: _visit_all(endpoint, addresses))


def ask(
    address: str, script: str, width: int = 1440, dark: bool = False, shot: Path | None = None, media: str = "screen"
) -> object:
    """What the body of an asynchronous function returns in a page, as JSON has it; ``shot`` gets a picture of it."""
    return _in_browser(lambda endpoint: _ask(endpoint, address, script, width, dark, shot, media))


def _in_browser(talk: Callable[[str], Coroutine]) -> object:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return asyncio.run(talk(_endpoint(Path(profile))))
        finally:
            process.terminate()
            process.wait(timeout=30)


def _endpoint(profile: Path, patience: float = 60) -> str:
    """Address of the browser's DevTools socket, once it has written it down."""
    note, deadline = profile / "DevToolsActivePort", time.monotonic() + patience
    while time.monotonic() < deadline:
        if note.exists() and len(lines := note.read_text().splitlines()) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise TimeoutError(f"Expected the browser to open its DevTools socket within {patience} s, found none.")


async def _visit_all(endpoint: str, addresses: list[str]) -> list[Visit]:
    socket = await websocket_connect(endpoint)
    visits = [await asyncio.wait_for(_visit_one(_Session(socket), address), 120) for address in addresses]
    await _leave(socket)
    return visits


async def _leave(socket: WebSocketClientConnection) -> None:
    """End the browser, and wait until the connection has gone."""
    await _Session(socket).call("Browser.close")
    while await socket.read_message() is not None:
        pass


async def _ask(endpoint: str, *what: object) -> object:
    socket = await websocket_connect(endpoint, max_message_size=2**28)
    try:
        return await _asked(_Session(socket), *what)
    finally:
        await _leave(socket)


async def _asked(
    session: _Session, address: str, script: str, width: int, dark: bool, shot: Path | None, media: str
) -> object:
    await _open(session)
    await session.call("Emulation.setEmulatedMedia", media=media)
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
    await session.call("Emulation.setDeviceMetricsOverride", **size)
    mode = json.dumps("dark" if dark else "light")  # as the theme keeps a reader's choice
    keep = f"try {{ localStorage.setItem('mode', {mode}); localStorage.setItem('theme', {mode}); }} catch {{}}"
    await session.call("Page.addScriptToEvaluateOnNewDocument", source=keep)
    await session.call("Page.navigate", url=address)
    await session.until("Page.loadEventFired")
    answer = await session.call(
        "Runtime.evaluate", expression=f"(async () => {{ {script} }})()", awaitPromise=True, returnByValue=True
    )
    if "exceptionDetails" in answer:
        raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
    if shot:
        high = await session.call("Runtime.evaluate", expression="document.documentElement.scrollHeight")
        await session.call("Emulation.setDeviceMetricsOverride", **size | {"height": high["result"]["value"]})
        picture = await session.call("Page.captureScreenshot")
        shot.write_bytes(base64.b64decode(picture["data"]))
    return answer["result"].get("value")


async def _open(session: _Session) -> str:
    """A new tab that tells what it does; its name."""
    target = await session.call("Target.createTarget", url="about:blank")
    attached = await session.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
    session.identity = attached["sessionId"]
    for domain in ("Network", "Page", "Runtime"):
        await session.call(f"{domain}.enable")
    return target["targetId"]


async def _visit_one(session: _Session, address: str) -> Visit:
    tab = await _open(session)
    await session.call("Page.navigate", url=address)
    await session.until("Page.loadEventFired")
    shown = await session.call("Runtime.evaluate", expression=PROBE, awaitPromise=True)
    requests = tuple(e["request"]["url"] for e in session.events("Network.requestWillBeSent"))
    failures = [e["errorText"] for e in session.events("Network.loadingFailed") if not e.get("canceled")]
    thrown = [e["exceptionDetails"] for e in session.events("Runtime.exceptionThrown")]
    failures += [e.get("exception", {}).get("description", e["text"]) for e in thrown]
    session.identity = None
    await session.call("Target.closeTarget", targetId=tab)
    return Visit(requests, tuple(failures), **json.loads(shown["result"]["value"]))


class _Session:
    """Commands to one tab and the events that came from it."""

    _numbers = itertools.count(1)

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.socket, self.identity, self.seen = socket, None, []

    async def call(self, method: str, **parameters: object) -> dict:
        """Send a command and wait for its answer; a refused command raises."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        await self.socket.write_message(json.dumps(message | ({"sessionId": self.identity} if self.identity else {})))
        while (answer := await self._next()).get("id") != number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    async def until(self, method: str) -> None:
        """Wait for an event, unless it has come already."""
        while not self.events(method):
            await self._next()

    def events(self, method: str) -> list[dict]:
        """Parameters of the events of one kind that have come so far."""
        return [e["params"] for e in self.seen if e.get("method") == method and e.get("sessionId") == self.identity]

    async def _next(self) -> dict:
        message = json.loads(await self.socket.read_message())
        self.seen.append(message)
        return message
