"""`envkit run`: the main job."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envkit.apps.launch import LOOPBACK, Request, choose_backend, plan_launch
from envkit.apps.run import run_attached, run_detached
from envkit.apps.workspace import open_workspace
from envkit.backends.base import Recipe
from envkit.cli.build import base_image_option
from envkit.cli.cause import say_cause
from envkit.cli.console import ConsoleProgress, json_option, matrix_option, print_json, say, style
from envkit.cli.instances import backends
from envkit.cli.mirror import chosen_mirror, mirror_option
from envkit.cli.plan import backend_option, device_option, environment_option, gpus_option, plan_json, with_gpus
from envkit.diagnose.keep import Kept
from envkit.errors import UsageError
from envkit.host.facts import HostFacts
from envkit.host.index import split_proxies
from envkit.host.probes import probe_host
from envkit.lock.lockfile import read_lock
from envkit.matrix.load import load_matrix, named
from envkit.matrix.plan import DeviceWish, Plan, make_plan
from envkit.process import redact

if TYPE_CHECKING:
    from envkit.backends.base import Backend, Launch
    from envkit.matrix.schema import App


@click.command("run", context_settings={"allow_interspersed_args": True})
@click.argument("framework")
@click.argument("app", default="", metavar="APP")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGS]...")
@environment_option
@backend_option("Where to run.")
@device_option
@gpus_option
@click.option("--port", type=click.IntRange(0, 65535), help="The port on this machine; 0 takes a free one.")
@click.option("--name", help="The instance's name.")
@click.option("-d", "--detach", is_flag=True, help="Return once the app answers, and leave it running.")
@click.option(
    "--workspace",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The app's folder [default: ./workspace/FRAMEWORK].",
)
@click.option(
    "--volume",
    "volumes",
    multiple=True,
    metavar="SOURCE:TARGET",
    help="Another folder for the container; repeatable.",
)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A variable for the app; repeatable.")
@click.option("--expose", is_flag=True, help="Let others reach the port; only for apps with a key.")
@base_image_option
@mirror_option
@click.option("--dry-run", is_flag=True, help="Show what would be done.")
@json_option
@matrix_option
def run_command(
    framework: str,
    app: str,
    args: tuple[str, ...],
    *,
    environment: str | None,
    backend: str,
    device: DeviceWish,
    gpus: str | None,
    port: int | None,
    name: str | None,
    detach: bool,
    workspace: Path | None,
    volumes: tuple[str, ...],
    settings: tuple[str, ...],
    expose: bool,
    base_image: str | None,
    mirror: str | None,
    dry_run: bool,
    as_json: bool,
    overlay: Path | None,
) -> int:
    """Run an app of a framework: the main job.

    Chooses the environment, makes it where it is missing, starts the app, and waits until it answers. What follows
    `--` goes to the app: envkit run llamafactory train -- config/demo_sft_lora.yaml
    """
    matrix = load_matrix(overlay)
    named(app, matrix.framework(framework).apps, f"app of {framework}")
    seen = click.get_current_context().find_object(HostFacts)  # by `envkit up`
    facts, device = with_gpus(seen or probe_host(), gpus, device)
    plan = make_plan(matrix, framework, facts, device=device, environment=environment, app=app)
    spec = plan.environment.app(app)
    known = backends()
    chosen, why = choose_backend(backend, known, gpu=plan.device == "gpu")
    recipe = Recipe(plan.environment, read_lock(plan.environment), chosen_mirror(matrix, mirror), base_image)
    request = Request(
        app=app,
        args=args,
        workspace=(workspace or Path("workspace") / framework).absolute(),
        gpus=(facts.gpus or ()) if plan.device == "gpu" else (),
        name=name,
        port=port,
        expose=expose,
        volumes=tuple(map(_volume, volumes)),
        env=dict(map(_setting, settings)),
    )
    launch = plan_launch(request, spec, recipe, chosen, known)
    say(f"{style(plan.environment.name, bold=True)} on the {plan.device.upper()}, backend {chosen.name} ({why})")
    if plan.warnings:
        asked = {"--env": environment, "--device": device, "--gpus": gpus, "--matrix": overlay}
        options = [f" {option} {value}" for option, value in asked.items() if value not in (None, "auto")]
        number, them = ("1 warning", "it") if len(plan.warnings) == 1 else (f"{len(plan.warnings)} warnings", "them")
        say(f"{number} about this machine: `envkit plan {framework}{''.join(options)}` shows {them}")
    if detach and spec.kind == "terminal":
        raise UsageError(f"{app} talks with you at the terminal", hint="leave out `--detach`")
    if chosen.isolated and (dropped := split_proxies()[1]):
        say(f"warning: not handed to the container, where 127.0.0.1 is another machine: {', '.join(dropped)}")
    if dry_run:
        _show(plan, chosen, recipe, launch, as_json=as_json)
        return 0

    for path in open_workspace(launch, plan.environment):
        say(f"  new: {os.path.relpath(path)}")
    if not chosen.has(recipe):
        progress = ConsoleProgress()
        chosen.make(recipe, progress)
        progress.done(f"{plan.environment.name} is ready")
    return _run(chosen, launch, spec, detach=detach, as_json=as_json)


def _run(backend: Backend, launch: Launch, spec: App, *, detach: bool, as_json: bool) -> int:
    def up() -> None:
        if as_json:
            print_json({"name": launch.name, "url": launch.url})
        elif launch.url:
            _show_url(launch)
            if not detach:
                say("Ctrl-C stops it")
        _show_key(launch, spec)

    if spec.kind == "server":
        say(f"starting {launch.name}")
    if detach:
        launch = run_detached(backend, launch, spec)
        up()
        say(f"`envkit logs -f {launch.name}` follows it, `envkit stop {launch.name}` ends it")
        return 0
    stream = sys.stderr.buffer if spec.kind == "server" else sys.stdout.buffer

    kept = Kept()

    def output(chunk: bytes) -> None:
        stream.write(chunk)
        stream.flush()
        kept.add(chunk)

    status = run_attached(backend, launch, spec, output=output, up=up)
    if status and not launch.terminal:
        say_cause(kept.chunks(), "run")
    return status


def _show_url(launch: Launch) -> None:
    click.echo(f"\n{style(launch.url or '', fg='green', bold=True)}")
    if os.environ.get("SSH_CONNECTION"):
        server = os.environ["SSH_CONNECTION"].split()
        say(
            f"from your own computer: ssh -N -L {launch.port}:127.0.0.1:{launch.port} -p {server[3]} {_user()}@{server[2]}"
        )
    else:
        say(f"from another computer:  ssh -N -L {launch.port}:127.0.0.1:{launch.port} {_user()}@THIS-MACHINE")


def _show_key(launch: Launch, spec: App) -> None:
    key = spec.auth and launch.secrets.get(spec.auth.env)
    if launch.address != LOOPBACK and key:
        say(f"exposed on every address of this machine, port {launch.port}; its key: {key}")


def _user() -> str:
    import getpass

    return getpass.getuser()


def _show(plan: Plan, backend: Backend, recipe: Recipe, launch: Launch, *, as_json: bool) -> None:
    """What a real run would do; values of secrets stay out of it."""
    ready = backend.has(recipe)
    if as_json:
        print_json(
            {
                **plan_json(plan, backend.name),
                "ready": ready,
                "name": launch.name,
                "argv": list(launch.argv),
                "env": {variable: redact(value) for variable, value in launch.env.items()},
                "secrets": sorted(launch.secrets),
                "mounts": {str(each.source): each.target for each in launch.mounts} if backend.isolated else {},
                "workdir": launch.workdir,
                "url": launch.url,
            }
        )
        return
    made = "is there" if ready else "would be built" if backend.isolated else "would be installed"
    click.echo(f"environment  {recipe.environment.image if backend.isolated else recipe.environment.name} {made}")
    click.echo(f"instance     {launch.name}")
    click.echo(f"command      {' '.join(launch.argv)}")
    click.echo(f"in           {launch.mounts[0].source}")
    for variable, value in sorted(launch.env.items()):
        click.echo(f"with         {variable}={redact(value)}")
    for variable in sorted(launch.secrets):
        click.echo(f"with         {variable}=(secret)")
    if launch.url:
        click.echo(f"answers at   {launch.url}")


def _volume(text: str) -> tuple[Path, str]:
    source, colon, target = text.rpartition(":")
    if not colon or not target.startswith("/") or not source:
        raise UsageError(
            f"not a volume: {text}", hint="write it as SOURCE:TARGET, such as `--volume /data/models:/models`"
        )
    if not Path(source).exists():
        raise UsageError(f"there is no such folder: {source}", hint="make it first")
    return Path(source).absolute(), target


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"not a setting: {text}", hint="write it as NAME=VALUE")
    return name, value
