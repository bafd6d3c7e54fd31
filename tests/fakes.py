"""Short stand-ins for what is slow or far away; the real things are proved in tests/integration and tests/e2e."""

from __future__ import annotations

import http.server
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec
from packaging.requirements import Requirement

from envkit.backends.base import BackendName, Entry, Instance, Made, NotRunningError
from envkit.errors import BackendError
from envkit.lock.lockfile import Lock, inputs_hash
from envkit.matrix.schema import Cache, Compiled, Toolkit
from envkit.process import Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from envkit.backends.base import Launch, Progress, Recipe
    from envkit.matrix.load import MatrixEnvironment


def demo_lock(environment: MatrixEnvironment) -> Lock:
    """A fresh lock with what the environment asks for, two packages that torch brings, and invented hashes."""
    brought = ["numpy==2.0.0", "nvidia-cublas==1.0"] if environment.stack.torch else []
    pins = [*environment.entry.require, *environment.stack.pins, *brought]
    return Lock(
        environment=environment.name,
        inputs=inputs_hash(environment),
        exclude_newer="2026-01-01T00:00:00Z",
        resolver="uv 0.0.0",
        body=_entries(sorted(pins)),
        build=_entries(list(environment.build_requires)),
    )


def with_toolkit(environment: MatrixEnvironment) -> MatrixEnvironment:
    """The environment on a stack that compiles CUDA code: `six` beforehand, the rest into a cache."""
    toolkit = Toolkit(
        require=["nvidia-nvcc==13.0.88"],
        source="invented",
        links={"nvidia/lib64": "lib", "nvidia/lib/libdemo.so": "libdemo.so.13"},
        env={"CUDA_HOME": "{site_packages}/nvidia"},
    )
    compiled = Compiled(
        env={"SIX_FAST": "1", "TORCH_CUDA_ARCH_LIST": "{capabilities}"},
        build_with=["numpy"],
        require=["six-needs"],
        reason="invented",
        source="invented",
    )
    cache = Cache(env="DEMO_COMPILED", default="~/.cache/demo-compiled", per_lock=True, locks="*/lock")
    caches = {**environment.framework.caches, "compiled": cache}
    return replace(
        environment,
        stack=msgspec.structs.replace(environment.stack, toolkit=toolkit),
        framework=msgspec.structs.replace(environment.framework, caches=caches),
        compiled={"six": compiled},
    )


def _entries(pins: Sequence[str]) -> str:
    return "".join(f"{pin} \\\n    --hash=sha256:{number:064x}\n" for number, pin in enumerate(pins, start=1))


@dataclass
class FakeResolver:
    """Stands where `process.run` does, and answers as uv would: a lock of exactly what was asked for, or a refusal."""

    refusal: str = ""
    judge: Callable[[Mapping[str, str]], str] | None = None
    """The refusal for what a pass was given to read; empty: it is resolved. Beats `refusal`."""
    releases: dict[str, str] = field(default_factory=dict)
    """The version that it finds for a name without an exact one."""
    brings: tuple[str, ...] = ()
    """What packages ask for, beside what was asked for: exact pins."""
    sources: tuple[str, ...] = ()
    """Names of what has no wheel."""
    calls: list[list[str]] = field(default_factory=list)
    """The arguments of every resolver pass."""
    files: list[dict[str, str]] = field(default_factory=list)
    """What it was given to read, by name; one for every pass."""
    environs: list[Mapping[str, str]] = field(default_factory=list)

    def __call__(
        self, argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Completed:
        """The ended program; a resolver pass writes `requirements.lock`."""
        if list(argv[1:]) == ["--version"]:
            return Completed(0, "uv 9.9.9 (invented)\n", "")
        assert cwd is not None
        assert env is not None
        self.calls.append(list(argv[1:]))
        self.files.append({each.name: each.read_text() for each in cwd.iterdir()})
        self.environs.append(env)
        refusal = self.judge(self.files[-1]) if self.judge else self.refusal
        if refusal:
            return Completed(1, "", refusal)
        asked = [self._pin(each) for each in self.files[-1]["requirements.in"].split()]
        if "pylock.toml" in argv:
            (cwd / "pylock.toml").write_text(self._pylock(asked))
        else:
            (cwd / "requirements.lock").write_text(_entries(sorted({*asked, *self.brings})))
        return Completed(0, "", "")

    def _pin(self, text: str) -> str:
        wish = Requirement(text)
        return text if str(wish.specifier).startswith("==") else f"{wish.name}=={self.releases[wish.name]}"

    def _pylock(self, pins: Sequence[str]) -> str:
        blocks = []
        for name, version in (each.split("==") for each in pins):
            wheels = "" if name in self.sources else 'wheels = [{ url = "https://index.example/a.whl" }]\n'
            blocks.append(f'[[packages]]\nname = "{name}"\nversion = "{version}"\n{wheels}\n')
        return 'lock-version = "1.0"\n\n' + "".join(blocks)


class FakeBackend:
    """Keeps instances in memory; all of its apps play the part that it was made with."""

    def __init__(
        self,
        name: BackendName = "docker",
        *,
        problem: str | None = None,
        gpu_problem: str | None = None,
        page: int | None = 200,
        output: bytes = b"",
        status: int | None = None,
    ) -> None:
        """Apps answer HTTP with the status `page` (None: not at all), print `output`, and run on, or end at once with `status`."""
        self.name = name
        self.isolated = name != "venv"
        self.made: list[Recipe] = []
        self.started: list[Launch] = []
        self.attended: list[Launch] = []
        self.removed: list[str] = []
        self.called: list[Launch] = []
        self.held: list[Made] = []
        """Environments that it holds, beside those that it made."""
        self.refusal = ""
        """Why nothing can be removed."""
        self.answer: Callable[[Launch], Completed] | None = None
        """What a called program does, where it is not the part of all apps."""
        self._problem, self._gpu_problem = problem, gpu_problem
        self._page, self._output, self._status = page, output, status
        self._instances: dict[str, Instance] = {}
        self._ended: dict[str, threading.Event] = {}
        self._servers: dict[str, http.server.HTTPServer] = {}

    def problem(self) -> str | None:
        """What it was made with."""
        return self._problem

    def gpu_problem(self) -> str | None:
        """What it was made with."""
        return self._gpu_problem

    def has(self, recipe: Recipe) -> bool:
        """Whether it made that."""
        return recipe in self.made

    def make(self, recipe: Recipe, progress: Progress) -> None:
        """Is done at once."""
        self.made.append(recipe)

    def key(self, recipe: Recipe) -> str:
        """Its name and its lock."""
        return f"{recipe.environment.name}-{recipe.lock.sha256[:12]}"

    def environments(self) -> list[Made]:
        """What it made, and what a test put there."""
        used = [(each.environment, each.name) for each in self.instances() if each.status == "running"]
        return [
            Made(
                name=self.key(each),
                environment=each.environment.name,
                key=self.key(each),
                used_by=tuple(name for environment, name in used if environment == each.environment.name),
                size=5 * 10**9,
                frees=2 * 10**9,
            )
            for each in self.made
        ] + self.held

    def discard(self, made: Made) -> None:
        """Forgets it, unless it refuses."""
        if self.refusal:
            raise BackendError(self.refusal)
        self.made = [each for each in self.made if self.key(each) != made.name]
        self.held = [each for each in self.held if each != made]

    def start(self, launch: Launch) -> None:
        """Plays the part."""
        self.started.append(launch)
        self._ended[launch.name] = threading.Event()
        self._put(launch, exit_status=self._status)
        if self._status is not None:
            self._ended[launch.name].set()
        elif self._page is not None and launch.port:
            self._servers[launch.name] = serve(launch.port, self._page)

    def attend(self, launch: Launch) -> int:
        """Ends at once."""
        self.attended.append(launch)
        return self._status or 0

    def call(self, launch: Launch, *, timeout: float) -> Completed:
        """Ends at once."""
        self.called.append(launch)
        return self.answer(launch) if self.answer else Completed(self._status or 0, self._output.decode(), "")

    def instances(self) -> list[Instance]:
        """Those that were started and not removed."""
        return sorted(self._instances.values(), key=lambda each: each.started)

    def find(self, name: str) -> Instance | None:
        """The instance of that name."""
        return self._instances.get(name)

    def logs(self, name: str, *, follow: bool, tail: int | None = None) -> Iterator[bytes]:
        """The output, line by line."""
        lines = self._output.splitlines(keepends=True) if name in self._instances else []
        yield from lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]
        if follow and name in self._ended:
            self._ended[name].wait(timeout=10)

    def entry(self, name: str, argv: Sequence[str], *, terminal: bool) -> Entry:
        """A program of this machine that answers as one inside would."""
        if self._instances[name].status != "running":
            raise NotRunningError(name)
        return Entry((*(("--tty",) if terminal else ()), *argv), {"INSIDE": name}, "/")

    def variables(self, name: str) -> frozenset[str] | None:
        """Those of the launch."""
        launch = next((each for each in self.started if each.name == name and name in self._instances), None)
        return frozenset({*launch.env, *launch.secrets}) if launch else None

    def wait(self, name: str) -> int:
        """The status that it was made with, or the one that `end` gave."""
        ended = self._ended.get(name)
        assert ended is None or ended.wait(timeout=10), "nobody ended the fake app"
        return (self._instances[name].exit_status if name in self._instances else None) or 0

    def remove(self, name: str, *, grace_seconds: float = 10) -> None:
        """Forgets the instance."""
        self.removed.append(name)
        self.end(name, 143)
        self._instances.pop(name, None)

    def end(self, name: str, status: int) -> None:
        """Lets the app end by itself."""
        if server := self._servers.pop(name, None):
            server.shutdown()
            server.server_close()
        if name in self._instances and self._instances[name].status == "running":
            launch = next(each for each in self.started if each.name == name)
            self._put(launch, exit_status=status)
            self._ended[name].set()

    def _put(self, launch: Launch, *, exit_status: int | None) -> None:
        self._instances[launch.name] = Instance(
            name=launch.name,
            framework=launch.environment.framework.name,
            app=launch.app,
            environment=launch.environment.name,
            backend=self.name,
            status="running" if exit_status is None else "exited",
            started=f"2026-01-01T00:00:{len(self.started):02}.000Z",
            url=launch.url,
            exit_status=exit_status,
            lock=launch.lock_sha256,
        )


def serve(port: int, status: int) -> http.server.HTTPServer:
    """A web server on 127.0.0.1 that answers everything with `status`; 0 takes a free port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server
