"""What real machines get from the shipped matrix.

`machines.yaml` says by hand what LLaMA-Factory gets. `machines.golden.yaml` keeps what every other framework gets on the
same machines: `--update-golden` writes it, and its diff shows whom a change of the data moves.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
import yaml
from msgspec import Struct, field

from envkit.errors import NoPlanError
from envkit.host.facts import Disk, Gpu, HostFacts, MigDevice, System
from envkit.matrix.plan import DeviceWish, make_plan
from envkit.matrix.source import Source

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix

TABLE = Path(__file__).with_name("machines.yaml")
GOLDEN = Path(__file__).with_name("machines.golden.yaml")
BY_HAND = "llamafactory"


class Model(Struct, frozen=True, forbid_unknown_fields=True):
    """A GPU as its driver describes it."""

    name: str
    memory_mib: int | None = None
    capability: str | None = None


class Gets(Struct, frozen=True, forbid_unknown_fields=True):
    """What the framework gets: an environment or the CPU, or no plan."""

    environment: str = ""
    warnings: list[str] = field(default_factory=list)
    refused: str = ""
    hint: str = ""


class Machine(Struct, frozen=True, forbid_unknown_fields=True):
    """A row."""

    machine: str
    gets: Gets
    gpus: list[str] | None = None
    mig: dict[str, list[str]] = field(default_factory=dict)
    driver: str | None = None
    cuda_driver: str | None = None
    gpu_problem: str | None = None
    architecture: str | None = None
    memory_mib: int | None = None
    memory_limit_mib: int | None = None
    free_mib: dict[Literal["engine", "home"], int] = field(default_factory=dict)
    device: DeviceWish = "auto"


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    models: dict[str, Model]
    slices: dict[str, int]
    warnings: dict[str, str]
    machines: list[Machine]


def read_table() -> Table:
    source = Source()
    table = source.read(TABLE, Table)
    assert table, source.faults
    return table


MACHINES = read_table()


def facts_of(machine: Machine) -> HostFacts:
    return HostFacts(
        gpus=None if machine.gpus is None else tuple(gpu_of(machine, index) for index in range(len(machine.gpus))),
        driver=machine.driver,
        cuda_driver=machine.cuda_driver,
        gpu_problem=machine.gpu_problem,
        system=System(
            architecture=machine.architecture,
            memory_mib=machine.memory_mib,
            memory_limit_mib=machine.memory_limit_mib,
        ),
        disks=tuple(Disk(purpose, f"/{purpose}", free_mib=free) for purpose, free in machine.free_mib.items()),
    )


def gpu_of(machine: Machine, index: int) -> Gpu:
    model = MACHINES.models[(machine.gpus or [])[index]]
    profiles = machine.mig.get(str(index))
    slices = [
        MigDevice(number, f"{model.name} MIG {profile}", f"MIG-{index}-{number}", MACHINES.slices[profile])
        for number, profile in enumerate(profiles or [])
    ]
    return Gpu(
        index=index,
        name=model.name,
        uuid=f"GPU-{index}",
        memory_mib=model.memory_mib,
        compute_capability=model.capability,
        mig=profiles is not None,
        mig_devices=tuple(slices),
    )


@pytest.mark.parametrize("machine", MACHINES.machines, ids=lambda machine: machine.machine)
def test_llamafactory_gets_what_the_table_says(shipped: Matrix, machine: Machine) -> None:
    if machine.gets.refused:
        with pytest.raises(NoPlanError) as caught:
            make_plan(shipped, BY_HAND, facts_of(machine), device=machine.device)
        assert machine.gets.refused in f"{caught.value.message}\n{caught.value.details}"
        assert machine.gets.hint in caught.value.hint
        return
    plan = make_plan(shipped, BY_HAND, facts_of(machine), device=machine.device)
    assert ("cpu" if plan.device == "cpu" else plan.environment.name) == machine.gets.environment
    assert [warning_id(each) for each in plan.warnings] == machine.gets.warnings


def test_every_other_framework_gets_what_it_got_before(shipped: Matrix, request: pytest.FixtureRequest) -> None:
    got = {
        framework: {machine.machine: gets(shipped, framework, machine) for machine in MACHINES.machines}
        for framework in sorted(shipped.frameworks)
        if framework != BY_HAND
    }
    if request.config.getoption("--update-golden"):
        head = "# Made by `./dev test -k test_machines --update-golden`: what each framework gets on the machines of machines.yaml.\n"
        GOLDEN.write_text(head + yaml.safe_dump(got, sort_keys=False, width=10_000), encoding="utf-8")
    assert got == yaml.safe_load(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("machine", MACHINES.machines, ids=lambda machine: machine.machine)
def test_every_environment_is_chosen_or_passed_over_for_a_reason(shipped: Matrix, machine: Machine) -> None:
    for framework in shipped.frameworks:
        try:
            plan = make_plan(shipped, framework, facts_of(machine), device=machine.device)
        except NoPlanError:
            continue
        named = {name for name, _ in plan.rejected} | {plan.environment.name}
        assert named == {each.name for each in shipped.environments(framework)}
        assert all(reasons for _, reasons in plan.rejected)


def gets(matrix: Matrix, framework: str, machine: Machine) -> str:
    """The plan in a line: the environment and the ids of its warnings, or the refusal."""
    try:
        plan = make_plan(matrix, framework, facts_of(machine), device=machine.device)
    except NoPlanError as error:
        return f"refused: {error.message}"
    name = plan.environment.name if plan.device == "gpu" else f"{plan.environment.name} on the CPU"
    return ", ".join([name, *map(warning_id, plan.warnings)])


def warning_id(warning: str) -> str:
    """The one id whose words it has."""
    (found,) = [name for name, words in MACHINES.warnings.items() if words in warning]
    return found


def test_the_table_has_no_part_that_no_machine_needs() -> None:
    used = {each for machine in MACHINES.machines for each in machine.gpus or []}
    warned = {each for machine in MACHINES.machines for each in machine.gets.warnings}
    names = [machine.machine for machine in MACHINES.machines]

    assert used == set(MACHINES.models)
    assert warned == set(MACHINES.warnings)
    assert sorted(set(names)) == sorted(names)
    assert len(names) >= 36
