"""Files and overlay turned into a `Matrix`, with what types alone cannot say checked."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from envkit.errors import MatrixError, UsageError
from envkit.matrix.schema import (
    App,
    BaseImage,
    Compiled,
    Environment,
    Framework,
    MatrixFile,
    Mirror,
    TorchStack,
    Unavailable,
    Variant,
)
from envkit.matrix.source import Source
from envkit.share import overlay_file, share_root

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

T = TypeVar("T")


@dataclass(frozen=True)
class MatrixEnvironment:
    """An environment with everything that the matrix says about it, looked up."""

    name: str
    entry: Environment
    framework: Framework
    stack: TorchStack
    variant: Variant
    base: BaseImage
    torch_layer: tuple[str, ...]
    build_requires: tuple[str, ...]
    compiled: dict[str, Compiled]
    """What images carry compiled, where the lock has it; nothing on a stack that cannot compile CUDA code."""
    home: Path
    """The folder whose `images/` holds its generated files."""
    framework_home: Path
    """The folder whose `images/` describes its framework."""

    @cached_property
    def version(self) -> str:
        """The framework's version, from its exact pin."""
        return pinned_version(self.entry.require, self.package) or ""

    @property
    def package(self) -> str:
        """The distribution whose version is the framework's."""
        return self.entry.package or self.framework.package

    @cached_property
    def apps(self) -> dict[str, App]:
        """What the environment can run: the framework's apps, with the environment's own commands."""
        own = self.entry.apps
        changed = {
            name: msgspec.structs.replace(self.framework.apps[name], argv=each.argv, help=each.help)
            for name, each in own.items()
        }
        return {name: app for name, app in {**self.framework.apps, **changed}.items() if app.argv}

    def app(self, name: str) -> App:
        """The app of that name; raises `UsageError` with the nearest names, or why this environment cannot run it."""
        if name not in self.apps and name in self.entry.apps:
            raise UsageError(
                f"{self.name} cannot run {name}: {self.entry.apps[name].reason}",
                hint=f"it can run: {', '.join(self.apps)}",
            )
        return named(name, self.apps, f"app of {self.framework.name}")

    @property
    def links(self) -> dict[str, str]:
        """The links that its toolkit's wheels lack, in site-packages, and where each points from there."""
        return self.stack.toolkit.links if self.stack.toolkit else {}

    def site_packages(self, venv: str) -> str:
        """Where its packages are, in a venv at `venv`."""
        return f"{venv}/lib/python{self.entry.python}/site-packages"

    def toolkit_env(self, venv: str) -> dict[str, str]:
        """The variables with which a program finds the toolkit of a venv at `venv`, and no CUDA of the system."""
        toolkit = self.stack.toolkit
        return {name: self._filled(value, venv) for name, value in toolkit.env.items()} if toolkit else {}

    def compiled_env(self, package: str, venv: str) -> dict[str, str]:
        """The variables with which a package is compiled."""
        return {name: self._filled(value, venv) for name, value in self.compiled[package].env.items()}

    def _filled(self, value: str, venv: str) -> str:
        capabilities = ";".join(self.stack.capabilities)
        return value.replace("{site_packages}", self.site_packages(venv)).replace("{capabilities}", capabilities)

    @property
    def build_options(self) -> list[str]:
        """What uv is told of its source distributions: options of `uv pip sync`."""
        settings = self.entry.build_settings.items()
        return [
            f"--config-settings-package={package}:{each}" for package, values in sorted(settings) for each in values
        ]

    @property
    def label(self) -> str:
        """What tells this environment from the framework's others: its name without the framework."""
        return self.name.removeprefix(f"{self.framework.name}-")

    @property
    def folder(self) -> Path:
        """Where its generated files are: Dockerfile, locks."""
        return self.home / "images" / self.framework.name / self.label

    @property
    def image(self) -> str:
        """The image's name and tag, such as `envkit/llamafactory:0.9.5-cu130`."""
        return f"envkit/{self.framework.name}:{self.version}-{self.label.removeprefix(f'{self.version}-')}"


@dataclass(frozen=True)
class Matrix:
    """What goes with what: the shipped matrix with the user's overlay on top."""

    file: MatrixFile
    frameworks: dict[str, Framework]
    homes: dict[str, Path]
    """For every environment and framework, the folder whose `images/` holds its files."""

    def framework(self, name: str) -> Framework:
        """The framework of that name; raises `UsageError` with the nearest names, or why there is none."""
        self._check_available(name)
        return named(name, self.frameworks, "framework")

    def environment(self, name: str) -> MatrixEnvironment:
        """The environment of that name; raises `UsageError` with the nearest names, or why there is none."""
        self._check_available(name)
        entry = named(name, self.file.environments, "environment")
        stack = self.file.torch_stacks[entry.stack]
        return MatrixEnvironment(
            name=name,
            entry=entry,
            framework=self._with_caches(self.frameworks[entry.framework], stack),
            stack=stack,
            variant=self.file.variants[stack.variant],
            base=cast(BaseImage, self.file.base_image),  # _check_agreement saw to it
            torch_layer=tuple(self.file.torch_layer),
            compiled=self.file.compiled if stack.toolkit else {},
            build_requires=_build_requires(self.file.build_requires, entry.build_requires),
            home=self.homes[name],
            framework_home=self.homes[entry.framework],
        )

    def _with_caches(self, framework: Framework, stack: TorchStack) -> Framework:
        caches = {**framework.caches, **(self.file.torch_caches if stack.torch else {})}
        return msgspec.structs.replace(framework, caches=caches)

    def unavailable(self, framework: str | None = None) -> dict[str, Unavailable]:
        """What there is not: of one framework its environments, else the frameworks that are missing altogether."""
        return {name: each for name, each in self.file.unavailable.items() if self._framework_of(name) == framework}

    def _framework_of(self, name: str) -> str | None:
        """The framework that an environment's name begins with: the longest, because `vllm-omni` is not `vllm`."""
        return max((each for each in self.frameworks if name.startswith(f"{each}-")), key=len, default=None)

    def _check_available(self, name: str) -> None:
        if missing := self.file.unavailable.get(name):
            raise UsageError(
                f"{name} is not available: {missing.reason}", hint=f"seen {missing.date}: {missing.source}"
            )

    def environments(self, framework: str | None = None) -> list[MatrixEnvironment]:
        """All environments, or one framework's: by framework, newest CUDA first, the CPU last, then the newest version."""
        entries = self.file.environments.items()
        found = [self.environment(name) for name, entry in entries if framework in (None, entry.framework)]
        found.sort(key=lambda each: (Version(each.variant.cuda or "0"), Version(each.version)), reverse=True)
        return sorted(found, key=lambda each: each.framework.name)

    def least_driver(self, environment: MatrixEnvironment) -> str | None:
        """The oldest driver that runs the environment's CUDA; None where it has no CUDA."""
        cuda = environment.variant.cuda
        return self.file.drivers[cuda.split(".")[0]].least if cuda else None

    def mirror(self, name: str) -> Mirror:
        """The mirror set of that name; raises `UsageError` with the nearest names."""
        return named(name, self.file.mirrors, "mirror")


def load_matrix(overlay: Path | None = None) -> Matrix:
    """The shipped matrix with `overlay` (or the user's own, where there is one) on top.

    Raises `MatrixError` with every fault in every file.
    """
    files = [share_root() / "envmatrix.yaml"]
    if overlay or overlay_file().is_file():
        files.append(overlay or overlay_file())

    source = Source()
    merged: dict[str, Any] = {}
    homes: dict[str, Path] = {}
    frameworks: dict[str, Framework] = {}
    for path in files:
        for described in sorted(path.parent.glob("images/*/framework.yaml")):
            framework = source.read(described, Framework)
            if framework is None:
                continue
            if framework.name != described.parent.name:
                source.fault(
                    ("name",),
                    f"expected the folder's name {described.parent.name!r}, got {framework.name!r}",
                    described,
                )
            frameworks[framework.name] = framework
            homes[framework.name] = path.parent
        part = source.read(path, MatrixFile)
        if part is None:
            continue
        homes.update(dict.fromkeys(part.environments, path.parent))
        for key in MatrixFile.__struct_fields__:
            value = getattr(part, key)
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value or merged.get(key)

    file = MatrixFile(**{key: value for key, value in merged.items() if value is not None})
    if not source.faults:
        _check_agreement(file, frameworks, source)
        _check_features(file, frameworks, homes, source)
        _check_compiled(file, source)
    if source.faults:
        raise MatrixError(source.faults)
    return Matrix(file, frameworks, homes)


def named(name: str, table: Mapping[str, T], what: str) -> T:
    """The entry of that name; raises `UsageError` with the nearest names, or all of them."""
    if name in table:
        return table[name]
    near = [f"`{each}`" for each in get_close_matches(name, table, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(sorted(table)) or 'none'}"
    raise UsageError(f"unknown {what}: {name}" if name else f"no {what} was named", hint=hint)


def pinned_version(requirements: list[str], package: str) -> str | None:
    """The version that an exact pin of `package` names, or None where there is no such pin."""
    for requirement in map(Requirement, requirements):
        if canonicalize_name(requirement.name) == canonicalize_name(package):
            return next((pin.version for pin in requirement.specifier if pin.operator == "=="), None)
    return None


def _check_agreement(file: MatrixFile, frameworks: dict[str, Framework], source: Source) -> None:
    """Adds a fault for every name that leads nowhere and every pin that is none."""
    if file.base_image is None:
        source.fault((), "the key `base_image` is missing")
    for name, variant in file.variants.items():
        if variant.cuda and variant.cuda.split(".")[0] not in file.drivers:
            source.fault(
                ("variants", name, "cuda"),
                f"no driver is known for CUDA {variant.cuda}: add it under `drivers`",
            )
    for name in file.torch_stacks:
        _check_stack(name, file, source)
    for number, text in enumerate(file.build_requires):
        if not _is_exact(text):
            source.fault(("build_requires", str(number)), f"not an exact pin (`name==version`): {text!r}")
    for name, entry in file.environments.items():
        _check_environment(name, file, frameworks, source)
        _check_commands(name, entry, frameworks, source)
    for name in file.unavailable:
        if name in file.environments or name in frameworks:
            source.fault(("unavailable", name), "there is one of that name")


def _check_features(file: MatrixFile, frameworks: dict[str, Framework], homes: dict[str, Path], source: Source) -> None:
    for name, framework in frameworks.items():
        for number, feature in enumerate(framework.features):
            if feature not in file.features:
                source.fault(
                    ("features", str(number)),
                    f"unknown feature: {feature}: add it under `features` in envmatrix.yaml",
                    homes[name] / "images" / name / "framework.yaml",
                )


def _check_compiled(file: MatrixFile, source: Source) -> None:
    for name, compiled in file.compiled.items():
        for number, text in enumerate(compiled.require):
            if not _is_requirement(text):
                source.fault(("compiled", name, "require", str(number)), f"not a requirement: {text!r}")


def _check_stack(name: str, file: MatrixFile, source: Source) -> None:
    stack = file.torch_stacks[name]
    if stack.variant not in file.variants:
        source.fault(("torch_stacks", name, "variant"), f"unknown variant: {stack.variant}")
    elif file.variants[stack.variant].cuda:
        for key in ("torch", "capabilities"):
            if not getattr(stack, key):
                source.fault(
                    ("torch_stacks", name), f"the key `{key}` is missing: the variant {stack.variant} carries CUDA"
                )
    for number, text in enumerate(stack.toolkit.require if stack.toolkit else ()):
        if not _is_exact(text):
            source.fault(
                ("torch_stacks", name, "toolkit", "require", str(number)),
                f"not an exact pin (`name==version`): {text!r}",
            )


def _check_requirements(entry: Environment, at: tuple[str, ...], source: Source) -> None:
    for key in ("require", "build_requires"):
        for number, text in enumerate(getattr(entry, key)):
            if not _is_exact(text):
                source.fault((*at, key, str(number)), f"not an exact pin (`name==version`): {text!r}")
    for key in ("constrain", "override"):
        for number, constraint in enumerate(getattr(entry, key)):
            if not _is_requirement(constraint.requirement):
                source.fault((*at, key, str(number), "requirement"), f"not a requirement: {constraint.requirement!r}")


def _check_environment(name: str, file: MatrixFile, frameworks: dict[str, Framework], source: Source) -> None:
    entry = file.environments[name]
    at = ("environments", name)
    framework, stack = frameworks.get(entry.framework), file.torch_stacks.get(entry.stack)
    _check_requirements(entry, at, source)
    if framework is None:
        source.fault(
            (*at, "framework"),
            f"unknown framework: {entry.framework} (no images/{entry.framework}/framework.yaml)",
        )
    elif all(map(_is_exact, entry.require)) and not pinned_version(
        entry.require, package := entry.package or framework.package
    ):
        source.fault((*at, "require"), f"the framework's own package is not pinned: {package}")
    if stack is None:
        source.fault((*at, "stack"), f"unknown torch stack: {entry.stack}")
    elif not (name.startswith(f"{entry.framework}-") and name.endswith(f"-{stack.variant}")):
        source.fault(at, f"the name must be `{entry.framework}-…` and end with its variant `-{stack.variant}`")


def _check_commands(name: str, entry: Environment, frameworks: dict[str, Framework], source: Source) -> None:
    framework = frameworks.get(entry.framework)
    for app in entry.apps:
        if framework and app not in framework.apps:
            source.fault(("environments", name, "apps", app), f"{entry.framework} has no such app")


def _is_requirement(text: str) -> bool:
    try:
        Requirement(text)
    except InvalidRequirement:
        return False
    return True


def _build_requires(common: list[str], own: list[str]) -> tuple[str, ...]:
    """Both; of a package that both pin, the environment's own pin."""
    names = {Requirement(each).name for each in own}
    return (*(each for each in common if Requirement(each).name not in names), *own)


def _is_exact(text: str) -> bool:
    if not _is_requirement(text):
        return False
    pins = list(Requirement(text).specifier)
    return [pin.operator for pin in pins] == ["=="] and not pins[0].version.endswith(".*")
