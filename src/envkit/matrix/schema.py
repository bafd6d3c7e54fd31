"""The types of `envmatrix.yaml` and `framework.yaml`: frozen, one line per field, and unknown keys are errors."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Text = Annotated[str, Meta(min_length=1, description="some text")]
VersionText = Annotated[str, Meta(pattern=r"^[0-9][0-9A-Za-z.+!_-]*$", description="a version, such as `2.11.0`")]
Capability = Annotated[str, Meta(pattern=r"^[0-9]+\.[0-9]$", description="a compute capability, such as `8.6`")]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="a name in lower case, such as `cu130`")]
DebianPackage = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9+.-]*$", description="a Debian package's name")]
ImageName = Annotated[
    str, Meta(pattern=r"^[a-z0-9][A-Za-z0-9._:/@-]*$", description="an image, such as `debian:bookworm-slim`")
]
Folder = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*$", description="the name of a folder")]
Variable = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_]*$", description="an environment variable, such as `API_KEY`")]
ModuleName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$", description="a module, such as `torch.nn`")]
Option = Annotated[str, Meta(pattern=r"^--?[a-z][a-z0-9_-]*$", description="an option, such as `--port`")]
Port = Annotated[int, Meta(ge=1, le=65535, description="a port from 1 to 65535")]
Mebibytes = Annotated[int, Meta(ge=1, description="a number of MiB")]
Seconds = Annotated[int, Meta(ge=1, description="a number of seconds")]
PackagePath = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*$",
        description="a path, such as `nvidia/cu13/lib`",
    ),
]
Value = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9_.,:;/+= -]|\{site_packages\}|\{capabilities\})*$",
        description="a value without quotes; `{site_packages}` and `{capabilities}` may stand in it",
    ),
]
BuildSetting = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_.-]+=[A-Za-z0-9_.:/$+-]+$",
        description="a build backend's setting, such as `cmake.define.GGML_NATIVE=OFF`",
    ),
]
UrlPath = Annotated[str, Meta(pattern=r"^/", description="a path that begins with `/`")]
Url = Annotated[
    str,
    Meta(pattern=r"^(https?|file)://[^\s]+$", description="an address, such as `https://example.com/simple`"),
]


class Driver(Struct, frozen=True, forbid_unknown_fields=True):
    """What a CUDA major version asks of the driver."""

    least: VersionText
    """The oldest Linux driver that runs any CUDA of this major version."""
    source: Text
    branches: dict[VersionText, VersionText] = field(default_factory=dict)
    """The CUDA that a driver has of its own, by the branch (the first number of its version) that brought it."""


class Feature(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that frameworks offer and not every GPU can do."""

    least: Capability
    """From this compute capability on."""
    instead: Text
    """What becomes of it on an older GPU, and what to do there."""
    source: Text


class Variant(Struct, frozen=True, forbid_unknown_fields=True):
    """Which CUDA an environment's wheels carry."""

    source: Text
    cuda: VersionText | None = None
    """Major and minor, as in `13.0`; absent: none, the environment runs on the CPU alone."""


class Toolkit(Struct, frozen=True, forbid_unknown_fields=True):
    """What compiles CUDA code: NVIDIA's compiler from wheels, and no CUDA of the system."""

    require: Annotated[list[Text], Meta(min_length=1)]
    """Exact pins; every environment on the stack has them, and the torch layer is the same for all of them."""
    source: Text
    links: dict[PackagePath, PackagePath] = field(default_factory=dict)
    """What the wheels lack: a link in site-packages, and where it points from there."""
    env: dict[Variable, Value] = field(default_factory=dict)
    """Set for every app; `{site_packages}` stands for the folder of the environment's packages."""


class Compiled(Struct, frozen=True, forbid_unknown_fields=True):
    """A package whose native code is compiled at its first use, unless it was compiled when it was built.

    Images carry it compiled, on every stack with a toolkit; a venv compiles what it uses, for its own GPU.
    """

    env: dict[Variable, Value]
    """What its build is told; `{capabilities}` stands for those that the stack's wheels carry code for."""
    build_with: Annotated[list[Text], Meta(min_length=1)]
    """What its build imports, beside the torch layer: names in the lock, as in `torch_layer`."""
    reason: Text
    source: Text
    require: list[Text] = field(default_factory=list)
    """What it asks for once it is compiled, and not before: requirements of every environment that pins it."""


class TorchStack(Struct, frozen=True, forbid_unknown_fields=True):
    """torch and the companions that belong to it, in one variant."""

    variant: Name
    source: Text
    torch: VersionText | None = None
    """Absent: the environments on this stack do without torch, and without its companions."""
    torchvision: VersionText | None = None
    torchaudio: VersionText | None = None
    """Absent where no release belongs to this torch (2.15 has none): better none than one of another CUDA."""
    triton: VersionText | None = None
    capabilities: list[Capability] = field(default_factory=list)
    """The compute capabilities that its wheels carry code for; none in a variant without CUDA."""
    ptx: Capability | None = None
    """Its wheels carry PTX of this capability, which drivers compile for later GPUs; absent: they carry none."""
    toolkit: Toolkit | None = None
    """Absent: nothing in its environments compiles CUDA code."""

    @property
    def pins(self) -> list[str]:
        """The stack as requirements, for the resolver."""
        names = ("torch", "torchvision", "torchaudio", "triton")
        pins = [f"{name}=={version}" for name in names if (version := getattr(self, name))]
        return [*pins, *(self.toolkit.require if self.toolkit else ())]


class Constraint(Struct, frozen=True, forbid_unknown_fields=True):
    """A bound that no package's metadata states."""

    requirement: Text
    reason: Text
    source: Text


class Attention(Struct, frozen=True, forbid_unknown_fields=True):
    """How attention is computed in an environment, with nothing left to compile for an hour."""

    path: Text
    """In a few words, for lists: `SDPA`, `FlashAttention 3, FlashInfer`."""
    source: Text


class Kernels(Struct, frozen=True, forbid_unknown_fields=True):
    """The framework's own GPU code, where it runs on less than torch's."""

    package: Text
    """What carries it."""
    capabilities: Annotated[list[Capability], Meta(min_length=1)]
    source: Text
    ptx: Capability | None = None


class OwnCommand(Struct, frozen=True, forbid_unknown_fields=True):
    """How one environment runs an app whose usual command does not work in it."""

    reason: Text
    source: Text
    argv: list[Text] = field(default_factory=list)
    """In place of the app's; empty: the environment cannot run this app."""
    help: list[Text] | None = None
    """As the app's own."""


class Unread(Struct, frozen=True, forbid_unknown_fields=True):
    """Variables of the framework that other releases of it read, and this one does not."""

    variables: Annotated[list[Variable], Meta(min_length=1)]
    source: Text


class Unavailable(Struct, frozen=True, forbid_unknown_fields=True):
    """A framework, or an environment of one, that cannot be made to work now."""

    reason: Text
    date: Annotated[str, Meta(pattern=r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}$", description="a date, such as `2026-11-21`")]
    """When this was seen."""
    source: Text
    """What was tried, or who says so."""
    title: str = ""
    home: Url | None = None


class Size(Struct, frozen=True, forbid_unknown_fields=True):
    """What an environment takes on a disk."""

    venv_mib: Mebibytes
    image_mib: Mebibytes
    """With its base image."""
    source: Text


class Environment(Struct, frozen=True, forbid_unknown_fields=True):
    """One framework in one variant: the unit that is locked, built and run."""

    framework: Name
    stack: Name
    python: VersionText
    """Major and minor, as in `3.11`."""
    require: Annotated[list[Text], Meta(min_length=1)]
    """Exact pins of what users care about; the framework itself is one of them."""
    constrain: list[Constraint] = field(default_factory=list)
    override: list[Constraint] = field(default_factory=list)
    """What replaces a package's own word on a dependency, where that word is wrong or cannot be met."""
    build_requires: list[Text] = field(default_factory=list)
    """What builds its source distributions, beside what builds everybody's, or for it; pinned, and not part of it."""
    build_settings: dict[Name, list[BuildSetting]] = field(default_factory=dict)
    """By package: what its build backend is told, so that what is built runs elsewhere too."""
    package: Name | None = None
    """The distribution whose version is the framework's; absent: the one that framework.yaml names."""
    apps: dict[Name, OwnCommand] = field(default_factory=dict)
    """Where a command in framework.yaml does not hold: by app, this environment's own."""
    unread: Unread | None = None
    """Absent: its release reads every variable that framework.yaml names."""
    kernels: Kernels | None = None
    """Absent: it runs wherever its torch does."""
    attention: Attention | None = None
    size: Size | None = None
    """Absent: not measured yet, and no disk is called too small for it."""
    note: str = ""


class BaseImage(Struct, frozen=True, forbid_unknown_fields=True):
    """What every image starts from."""

    name: ImageName
    architecture: Text
    """Locks hold wheels for these processors alone; as `uname -m` calls them."""
    glibc: VersionText
    """Locks are made for this C library: a lower one would silently select older wheels."""
    system_packages: list[DebianPackage]
    """Installed below the torch layer, so they are the same for every framework."""
    source: Text
    digest: str = ""
    """`sha256:…`; empty where no registry could be asked: then the tag alone decides."""


class Mirror(Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses that a user may choose instead of the defaults; nothing of it is written into images or locks."""

    about: Text
    index: Url | None = None
    """A Python package index."""
    apt: Url | None = None
    """What stands in front of `-security` and the suites: a Debian mirror's address."""
    docker_hub: ImageName | None = None
    """A registry that serves Docker Hub's images; stands in front of `/library/…`."""
    huggingface: Url | None = None
    """Becomes HF_ENDPOINT."""
    modelscope: bool = False
    """Whether frameworks that can take models from ModelScope are told to."""
    docker_packages: Url | None = None
    """Stands in place of Docker's own package repository."""
    toolkit_packages: Url | None = None
    """Stands in place of NVIDIA's repository of the Container Toolkit."""


class MatrixFile(Struct, frozen=True, forbid_unknown_fields=True):
    """One `envmatrix.yaml`; an overlay may leave any part out."""

    base_image: BaseImage | None = None
    drivers: dict[VersionText, Driver] = field(default_factory=dict)
    """By CUDA major version."""
    features: dict[Name, Feature] = field(default_factory=dict)
    gpus: dict[Capability, Text] = field(default_factory=dict)
    """What people call the GPUs of a compute capability; for tables that people read."""
    variants: dict[Name, Variant] = field(default_factory=dict)
    torch_layer: list[Text] = field(default_factory=list)
    """Names, or prefixes ending in `*`, of the packages that form the torch layer; `!` before one takes it out again."""
    torch_stacks: dict[Name, TorchStack] = field(default_factory=dict)
    compiled: dict[Name, Compiled] = field(default_factory=dict)
    """By distribution: for every environment whose lock has it."""
    torch_caches: dict[Name, Cache] = field(default_factory=dict)
    """The caches of torch itself and its companions, which every framework on a torch has beside its own."""
    environments: dict[Name, Environment] = field(default_factory=dict)
    unavailable: dict[Name, Unavailable] = field(default_factory=dict)
    """By the name of a framework or an environment: what there is not, and why."""
    build_requires: list[Text] = field(default_factory=list)
    """What installs an environment and builds its source distributions; pinned, and not part of it."""
    mirrors: dict[Name, Mirror] = field(default_factory=dict)


class Told(Struct, frozen=True, forbid_unknown_fields=True):
    """How an app learns something: by a variable or by an option of its command line."""

    env: Variable | None = None
    option: Option | None = None
    """Stands after the user's arguments."""

    def __post_init__(self) -> None:
        """Refuses both, and neither."""
        if (self.env is None) == (self.option is None):
            raise ValueError("give either `env` or `option`")


class AppPort(Told, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where an app listens."""

    default: Port


class AppBind(Told, frozen=True, forbid_unknown_fields=True):
    """How an app learns its address: 0.0.0.0 inside a container, 127.0.0.1 in a venv."""


class AppHealth(Struct, frozen=True, forbid_unknown_fields=True):
    """When an app counts as started: this path answers, with anything but a server error."""

    path: UrlPath
    within_seconds: Seconds


class AppAuth(Struct, frozen=True, forbid_unknown_fields=True):
    """How an app is protected once others can reach it."""

    env: Variable
    """The variable that carries the key."""


class App(Struct, frozen=True, forbid_unknown_fields=True):
    """Something the framework can run."""

    about: Text
    argv: Annotated[list[Text], Meta(min_length=1)]
    """The command; what the user types after `--` follows it."""
    port: AppPort | None = None
    bind: AppBind | None = None
    health: AppHealth | None = None
    auth: AppAuth | None = None
    """Absent: the app has no login of its own, and is not exposed."""
    interactive: bool = False
    """Talks with the user at a terminal."""
    cpu: bool = False
    """Works without a GPU even if the framework does not: a report, a client, a conversion."""
    help: list[Text] | None = None
    """The command that prints its options; absent: `argv` and `--help`; empty: nothing does."""

    @property
    def kind(self) -> Literal["server", "job", "terminal"]:
        """How it is run: until stopped, until done, or at the keyboard."""
        if self.port:
            return "server"
        return "terminal" if self.interactive else "job"


class Cache(Struct, frozen=True, forbid_unknown_fields=True):
    """A folder that outlives instances and that frameworks share, such as downloaded models."""

    env: Variable
    """Tells the framework where it is; a value on the host wins."""
    default: Text
    """Used when it exists on the host already; else the folder lives under ENVKIT_HOME."""
    per_lock: bool = False
    """Holds compiled code: each lock has a folder of its own in it, and a venv another one than an image."""
    locks: Text | None = None
    """A pattern of files in it that a compilation which was killed leaves, and that later ones wait for without end."""


class CapabilityFloor(Struct, frozen=True, forbid_unknown_fields=True):
    """The compute capability below which a framework starts and is of little use."""

    least: Capability
    reason: Text
    source: Text


class MemoryFloor(Struct, frozen=True, forbid_unknown_fields=True):
    """The memory below which a framework starts and is of little use."""

    least_mib: Mebibytes
    reason: Text
    source: Text


class Floors(Struct, frozen=True, forbid_unknown_fields=True):
    """What a machine should have; one that has less is warned of and not refused."""

    capability: CapabilityFloor | None = None
    gpu_memory: MemoryFloor | None = None
    """Of each GPU, or slice of one."""
    memory: MemoryFloor | None = None


class Losses(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a training writes what each step lost; paths are those in the workspace."""

    file: PackagePath | None = None
    """Absent: it prints them."""
    pattern: str = r'"loss": ?"?([^",}\s]+)'
    """Finds one loss after the other; the usual one reads the Trainer's logs, whether lines of JSON or one document."""


class Training(Struct, frozen=True, forbid_unknown_fields=True):
    """A smoke check that trains: an app of the framework, told what to do, and what it must leave behind."""

    app: Name
    args: Annotated[list[Text], Meta(min_length=1)]
    losses: Losses
    steps: Annotated[int, Meta(ge=6, description="a number of steps, 6 or more")]
    """So many losses are reported, no more and no fewer, all of them finite."""
    falls_to: Annotated[float, Meta(gt=0, lt=1, description="a factor between 0 and 1")]
    """The mean of the last three losses is at most this part of the mean of the first three."""
    base: PackagePath = "models/tiny"
    adapter: PackagePath | None = None
    """The adapter that it writes: it is loaded again, and answers better than the model without it."""
    copy: PackagePath | None = None
    """The same adapter once more, as a checkpoint has it: both give the same logits, to the bit."""
    model: PackagePath | None = None
    """The whole model that it writes, where it writes one: it is loaded again likewise."""
    files: list[Text] = field(default_factory=list)
    """What else must be there, as patterns."""
    says: list[Text] = field(default_factory=list)
    """What it must print: that a flag was heard, for example."""
    results: PackagePath | None = None
    """What the Trainer writes of the whole: tokens and seconds."""
    env: dict[Variable, str] = field(default_factory=dict)
    """`{processes}` stands for 2 on the CPU, and for 1 or 2 on as many GPUs."""
    needs: Name | None = None
    """A package that the lock must have; without it the check is skipped."""
    within_seconds: Seconds = 300


class Chat(Struct, frozen=True, forbid_unknown_fields=True):
    """A smoke check that asks an OpenAI-style server; where the app has a key, a call without it must be refused."""

    app: Name
    model: Text
    """The name that a request gives."""
    args: list[Text] = field(default_factory=list)
    env: dict[Variable, str] = field(default_factory=dict)
    open: list[UrlPath] = field(default_factory=list)
    """Addresses that anybody may ask, key or not, because the server is made so."""
    tokens: Annotated[int, Meta(ge=1, description="a number of tokens")] = 8
    """Asked for, and counted."""
    within_seconds: Seconds = 300


class Page(Struct, frozen=True, forbid_unknown_fields=True):
    """A smoke check that opens the web page in a real browser."""

    app: Name
    title: Text
    """What the page's title begins with."""
    fields: Annotated[list[Text], Meta(min_length=1)]
    """Labels of fields that can be seen."""
    args: list[Text] = field(default_factory=list)
    env: dict[Variable, str] = field(default_factory=dict)
    choices: dict[Text, Text] = field(default_factory=dict)
    """Something that a field offers once it is opened, by the field's label."""
    within_seconds: Seconds = 300
    """Until the server answers."""
    load_seconds: Seconds = 60
    """Until the fields are there."""


class Export(Struct, frozen=True, forbid_unknown_fields=True):
    """A smoke check that merges the adapter of a training and compares the model that is written."""

    app: Name
    args: Annotated[list[Text], Meta(min_length=1)]
    of: Name
    """The training whose adapter is merged; it runs first."""
    writes: PackagePath
    env: dict[Variable, str] = field(default_factory=dict)
    within_seconds: Seconds = 300


class Smoke(Struct, frozen=True, forbid_unknown_fields=True):
    """What proves a framework on a machine, with its own commands; paths are those in a workspace of its own.

    What is in `images/<framework>/smoke/` and `envkit/smoke/inside/` lies there in the folder `smoke`.
    """

    prepare: list[Annotated[list[Text], Meta(min_length=1)]] = field(default_factory=list)
    """Programs that make models and data, run with the environment's Python: a file, and what it is told."""
    trainings: dict[Name, Training] = field(default_factory=dict)
    """By the name of the check, such as `sft-lora`, `dpo` or `deepspeed-zero2`."""
    chat: Chat | None = None
    page: Page | None = None
    export: Export | None = None


class Framework(Struct, frozen=True, forbid_unknown_fields=True):
    """One `framework.yaml`: how a framework runs."""

    name: Name
    title: Text
    home: Url
    package: Name
    """The distribution whose version is the framework's."""
    cpu: bool
    """Whether its environments with CUDA can work without a GPU too; those of the variant `cpu` always can."""
    apps: Annotated[dict[Name, App], Meta(min_length=1)]
    imports: list[ModuleName] = field(default_factory=list)
    """What users import, in their order; absent: the distribution's name."""
    without_gpu: list[Text] = field(default_factory=list)
    """What it prints where it needs a GPU and finds none: importing it, or asking for its help, is skipped then."""
    workspace: list[Folder] = field(default_factory=list)
    """Folders made in the user's workspace, which is the app's working directory."""
    caches: dict[Name, Cache] = field(default_factory=dict)
    env: dict[Variable, str] = field(default_factory=dict)
    """Set for every app."""
    pass_env: list[Variable] = field(default_factory=list)
    """Taken over from the host where set."""
    modelscope: dict[Variable, Text] = field(default_factory=dict)
    """What makes it take models from ModelScope; absent: it cannot, or does so by itself."""
    secrets: list[Variable] = field(default_factory=list)
    """Taken over like `pass_env`, and never shown or stored."""
    system_packages: list[DebianPackage] = field(default_factory=list)
    """Beyond what every image has."""
    features: list[Name] = field(default_factory=list)
    """What it offers and not every GPU can do: names under `features` in envmatrix.yaml."""
    floors: Floors = field(default_factory=Floors)
    smoke: Smoke = field(default_factory=Smoke)
    """What `envkit smoke` runs, beside what it asks of every environment."""
