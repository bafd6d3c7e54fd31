"""Files and overlay become a matrix, or one report of every fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from envkit.errors import MatrixError, UsageError
from envkit.matrix.load import Matrix, load_matrix, pinned_version
from envkit.share import overlay_file

if TYPE_CHECKING:
    from pathlib import Path

STACK = """\
    variant: cu126
    torch: "2.7.0"
    torchvision: "0.22.0"
    torchaudio: "2.7.0"
    triton: "3.3.0"
    capabilities: ["8.6"]
    source: invented
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def faults(overlay: Path | None = None) -> list[str]:
    with pytest.raises(MatrixError) as caught:
        load_matrix(overlay)
    return list(caught.value.faults)


def edit(file: Path, old: str, new: str) -> int:
    """Replaces `old`, which stands there once, and gives its line."""
    before, after = file.read_text().split(old)
    file.write_text(before + new + after)
    return before.count("\n") + 1


# Faults ---------------------------------------------------------------------------------------------------------------


def test_ten_mistakes_in_one_file_are_ten_messages(share: Path, tmp_path: Path) -> None:
    file = write(
        tmp_path / "mine.yaml",
        """\
variants:
  CU126: {cuda: "12.6", source: invented}
  cu126: {cuda: twelve, source: invented}
  cu126: {cuda: "12.6"}
torch_stacks:
  mine:
    variant: cu126
    torch: ""
    torchvison: "0.22.0"
    capabilities: [8.6, sm_90]
    source: invented
environments:
  demo-cu126: {framework: demo, stack: mine, python: 3.10, require: []}
mirrors:
  near: {about: invented, index: here}
mirrorz: {}
build_requires: uv==0.13.8
""",
    )

    assert faults(file) == [
        f"{file}:4: variants.cu126: the key stands here a second time",
        f"{file}:16: mirrorz: unknown key, did you mean `mirrors`?",
        f"{file}:2: variants.CU126: expected a name in lower case, such as `cu130`, got 'CU126'",
        f"{file}:4: variants.cu126: the key `source` is missing",
        f"{file}:9: torch_stacks.mine.torchvison: unknown key, did you mean `torchvision`?",
        f"{file}:8: torch_stacks.mine.torch: expected a version, such as `2.11.0`, got ''",
        f"{file}:10: torch_stacks.mine.capabilities.1: expected a compute capability, such as `8.6`, got 'sm_90'",
        f"{file}:13: environments.demo-cu126.require: expected `array` of length >= 1, got []",
        f"{file}:17: build_requires: expected `array`, got `str`, got 'uv==0.13.8'",
        f"{file}:15: mirrors.near.index: expected an address, such as `https://example.com/simple`, got 'here'",
    ]


def test_every_file_is_read_before_the_report_is_made(share: Path, tmp_path: Path) -> None:
    shipped, described = share / "envmatrix.yaml", share / "images/demo/framework.yaml"
    file = write(tmp_path / "mine.yaml", "colour: red\n")
    at_glibc = edit(shipped, 'glibc: "2.36"', 'glibc: ""')
    at_port = edit(described, "default: 7860", "default: 78600")

    assert faults(file) == [
        f"{described}:{at_port}: apps.page.port.default: expected a port from 1 to 65535, got '78600'",
        f"{shipped}:{at_glibc}: base_image.glibc: expected a version, such as `2.11.0`, got ''",
        f"{file}:1: colour: unknown key",
    ]


def test_what_does_not_agree_is_found_with_the_file_that_said_it_last(share: Path, tmp_path: Path) -> None:
    file = write(
        tmp_path / "mine.yaml",
        f"""\
variants:
  cu140: {{cuda: "14.0", source: invented}}
torch_stacks:
  bare: {{variant: cu130, torch: "2", torchvision: "2", torchaudio: "2", triton: "2", source: invented}}
  lost:
{STACK}\
environments:
  demo-cu131:
    framework: demo
    stack: new
    python: "3.11"
    require: [iniconfig==2.1.0]
  demo-cu124:
    framework: demo
    stack: old
    python: "3.11"
    require: [six==1.17.0, "numpy>=2"]
  solo-cu124:
    framework: solo
    stack: old
    python: "3.11"
    require: [iniconfig==2.1.0]
    constrain: [{{requirement: "numpy < three", reason: invented, source: invented}}]
  ghost-cu130:
    framework: ghost
    stack: gone
    python: "3.11"
    require: [ghost==1]
build_requires: [uv, wheel==0.46.1]
""",
    )

    assert faults(file) == [
        f"{file}:2: variants.cu140.cuda: no driver is known for CUDA 14.0: add it under `drivers`",
        f"{file}:4: torch_stacks.bare: the key `capabilities` is missing: the variant cu130 carries CUDA",
        f"{file}:6: torch_stacks.lost.variant: unknown variant: cu126",
        f"{file}:35: build_requires.0: not an exact pin (`name==version`): 'uv'",
        f"{file}:23: environments.demo-cu124.require.1: not an exact pin (`name==version`): 'numpy>=2'",
        f"{file}:14: environments.demo-cu131: the name must be `demo-…` and end with its variant `-cu130`",
        f"{file}:29: environments.solo-cu124.constrain.0.requirement: not a requirement: 'numpy < three'",
        f"{file}:28: environments.solo-cu124.require: the framework's own package is not pinned: six",
        f"{file}:31: environments.ghost-cu130.framework: unknown framework: ghost (no images/ghost/framework.yaml)",
        f"{file}:32: environments.ghost-cu130.stack: unknown torch stack: gone",
    ]


@pytest.mark.parametrize(
    "pin", ["six", "six>=1.17", "six==1.17,!=1.16", "six===1.17", "six==", "-r other.txt", "six 1"]
)
def test_a_requirement_that_is_no_exact_pin_is_named(share: Path, pin: str) -> None:
    line = edit(share / "envmatrix.yaml", "[six==1.17.0]", f'["{pin}"]')

    assert faults() == [
        f"{share}/envmatrix.yaml:{line}: environments.solo-cu130.require.0: not an exact pin (`name==version`): {pin!r}"
    ]


def test_a_prefix_match_is_no_exact_pin(share: Path) -> None:
    line = edit(share / "envmatrix.yaml", "[six==1.17.0]", '["six==1.*"]')

    assert faults() == [
        f"{share}/envmatrix.yaml:{line}: environments.solo-cu130.require.0: not an exact pin (`name==version`): 'six==1.*'"
    ]


TOOLKIT = """\
torch_stacks:
  new:
    variant: cu130
    torch: "2.11.0"
    capabilities: ["9.0"]
    source: invented
    toolkit:
      require: [nvidia-nvcc==13.0.88]
      links: {nvidia/lib64: lib}
      env: {CUDA_HOME: "{site_packages}/nvidia"}
      source: invented
compiled:
  six: {env: {ARCH: "{capabilities}"}, build_with: [numpy], reason: invented, source: invented}
torch_caches:
  extensions: {env: EXTENSIONS, default: ~/.cache/extensions, per_lock: true, locks: "*/lock"}
"""


def test_a_toolkit_belongs_to_every_environment_of_its_stack(share: Path, tmp_path: Path) -> None:
    matrix = load_matrix(write(tmp_path / "mine.yaml", TOOLKIT))

    environment = matrix.environment("solo-cu130")
    assert environment.stack.pins == ["torch==2.11.0", "nvidia-nvcc==13.0.88"]
    assert environment.links == {"nvidia/lib64": "lib"}
    assert environment.toolkit_env("/v") == {"CUDA_HOME": "/v/lib/python3.11/site-packages/nvidia"}
    assert environment.compiled_env("six", "/v") == {"ARCH": "9.0"}


def test_what_runs_on_a_torch_has_its_caches_beside_its_own(share: Path, tmp_path: Path) -> None:
    matrix = load_matrix(write(tmp_path / "mine.yaml", TOOLKIT))

    assert list(matrix.environment("demo-cu130").framework.caches) == ["hub", "extensions"]
    assert list(matrix.environment("demo-cpu").framework.caches) == ["hub"]


def test_without_a_toolkit_nothing_is_linked_or_compiled(share: Path, tmp_path: Path) -> None:
    environment = load_matrix(write(tmp_path / "mine.yaml", TOOLKIT)).environment("demo-cu124")

    assert (environment.links, environment.toolkit_env("/v"), environment.compiled) == ({}, {}, {})


def test_a_toolkit_that_is_no_exact_pin_is_named(share: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "mine.yaml", TOOLKIT.replace("==13.0.88", ""))

    assert faults(file) == [
        f"{file}:8: torch_stacks.new.toolkit.require.0: not an exact pin (`name==version`): 'nvidia-nvcc'"
    ]


def test_what_a_compiled_package_asks_for_is_a_requirement(share: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "mine.yaml", TOOLKIT.replace("build_with:", "require: [two words], build_with:"))

    assert faults(file) == [f"{file}:13: compiled.six.require.0: not a requirement: 'two words'"]


@pytest.mark.parametrize("value", ["{home}/nvidia", "$HOME", "a'b", "{site_packages"])
def test_a_value_that_cannot_be_filled_in_or_would_reach_a_shell_is_refused(
    share: Path, tmp_path: Path, value: str
) -> None:
    file = write(tmp_path / "mine.yaml", TOOLKIT.replace("{site_packages}/nvidia", value))

    assert [each.split(": ")[:2] for each in faults(file)] == [[f"{file}:10", "torch_stacks.new.toolkit.env.CUDA_HOME"]]


@pytest.mark.parametrize("path", ["../outside", "/usr/lib", "a b"])
def test_a_link_stays_in_the_environment(share: Path, tmp_path: Path, path: str) -> None:
    file = write(tmp_path / "mine.yaml", TOOLKIT.replace("lib64: lib", f'lib64: "{path}"'))

    assert [each.split(": ")[:2] for each in faults(file)] == [
        [f"{file}:9", "torch_stacks.new.toolkit.links.nvidia/lib64"]
    ]


def test_a_framework_must_bear_the_name_of_its_folder(share: Path) -> None:
    edit(share / "images/solo/framework.yaml", "name: solo", "name: duo")

    assert faults() == [f"{share}/images/solo/framework.yaml:2: name: expected the folder's name 'solo', got 'duo'"]


def test_a_feature_of_a_framework_must_be_known(share: Path) -> None:
    file = share / "images/solo/framework.yaml"
    line = edit(file, "features: [bf16, fp8]", "features: [bf16, fp4]")

    assert faults() == [f"{file}:{line}: features.1: unknown feature: fp4: add it under `features` in envmatrix.yaml"]


def test_a_command_of_an_environment_must_be_that_of_an_app(share: Path) -> None:
    text = "require: [iniconfig==2.0.0]"
    line = edit(share / "envmatrix.yaml", text, f"{text}\n    apps: {{paint: {{reason: invented, source: invented}}}}")

    assert faults() == [f"{share}/envmatrix.yaml:{line + 1}: environments.demo-cu124.apps.paint: demo has no such app"]


def test_a_matrix_without_a_base_image_says_so(share: Path) -> None:
    file = share / "envmatrix.yaml"
    head, tail = file.read_text().split("base_image:")
    file.write_text(head + tail[tail.index("build_requires:") :])

    assert faults() == [f"{file}:1: the key `base_image` is missing"]


def test_a_missing_overlay_is_a_fault(share: Path, tmp_path: Path) -> None:
    assert faults(tmp_path / "gone.yaml") == [f"{tmp_path}/gone.yaml: there is no such file"]


def test_faults_are_counted_in_the_error(share: Path, tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match=r"^the compatibility matrix has 1 fault$"):
        load_matrix(write(tmp_path / "one.yaml", "a: 1\n"))
    with pytest.raises(MatrixError, match=r"^the compatibility matrix has 2 faults$") as caught:
        load_matrix(write(tmp_path / "two.yaml", "a: 1\nb: 2\n"))
    assert caught.value.details == f"{tmp_path}/two.yaml:1: a: unknown key\n{tmp_path}/two.yaml:2: b: unknown key"
    assert caught.value.exit_code == 3


# What is read ---------------------------------------------------------------------------------------------------------


def test_versions_stay_text(share: Path) -> None:
    edit(share / "envmatrix.yaml", 'python: "3.10"', "python: 3.10")
    edit(share / "envmatrix.yaml", 'cuda: "13.0"', "cuda: 13.0")

    matrix = load_matrix()

    assert matrix.environment("demo-cu124").entry.python == "3.10"
    assert matrix.environment("demo-cu130").variant.cuda == "13.0"


def test_environments_come_newest_cuda_first_and_the_cpu_last(share: Path) -> None:
    matrix = load_matrix()

    assert [each.name for each in matrix.environments()] == ["demo-cu130", "demo-cu124", "demo-cpu", "solo-cu130"]
    assert [each.name for each in matrix.environments("solo")] == ["solo-cu130"]


def test_of_one_cuda_the_newest_version_comes_first_by_version_not_by_text(share: Path, tmp_path: Path) -> None:
    entry = "{{framework: demo, stack: new, python: '3.11', require: [iniconfig=={0}]}}"
    lines = [f"  demo-{each}-cu130: {entry.format(each)}" for each in ("9.0", "10.0")]
    matrix = load_matrix(write(tmp_path / "mine.yaml", "\n".join(["environments:", *lines])))

    assert [each.name for each in matrix.environments("demo")][:3] == [
        "demo-10.0-cu130",
        "demo-9.0-cu130",
        "demo-cu130",
    ]


def test_an_environment_knows_what_the_matrix_says_of_it(share: Path) -> None:
    environment = load_matrix().environment("demo-cu130")

    assert environment.version == "2.1.0"
    assert environment.label == "cu130"
    assert environment.folder == share / "images/demo/cu130"
    assert environment.image == "envkit/demo:2.1.0-cu130"
    assert environment.stack.pins == ["torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0", "triton==3.6.0"]
    assert environment.torch_layer == ("torch", "torchvision", "torchaudio", "triton", "nvidia-*")


def test_what_builds_an_environment_s_source_distributions_stands_beside_what_builds_all(
    share: Path, tmp_path: Path
) -> None:
    text = """\
environments:
  demo-cu130:
    framework: demo
    stack: new
    python: "3.11"
    require: [iniconfig==2.1.0]
    build_requires: [cmake==4.4.4, wheel==0.45.1]
    build_settings: {iniconfig: [cmake.define.GGML_NATIVE=OFF]}
"""
    environment = load_matrix(write(tmp_path / "mine.yaml", text)).environment("demo-cu130")

    assert environment.build_requires == ("uv==0.13.8", "cmake==4.4.4", "wheel==0.45.1")
    assert environment.build_options == ["--config-settings-package=iniconfig:cmake.define.GGML_NATIVE=OFF"]


def test_a_build_setting_is_one_word_of_the_shell(share: Path, tmp_path: Path) -> None:
    text = """\
environments:
  demo-cu130:
    framework: demo
    stack: new
    python: "3.11"
    require: [iniconfig==2.1.0]
    build_settings: {iniconfig: ["a=b; reboot"]}
"""
    file = write(tmp_path / "mine.yaml", text)

    expected = "expected a build backend's setting, such as `cmake.define.GGML_NATIVE=OFF`, got 'a=b; reboot'"
    assert faults(file) == [f"{file}:7: environments.demo-cu130.build_settings.iniconfig.0: {expected}"]


def test_a_version_in_an_environment_s_name_is_not_repeated_in_its_image(share: Path, tmp_path: Path) -> None:
    text = (
        "environments: {demo-2.0.0-cu130: {framework: demo, stack: new, python: '3.11', require: [iniconfig==2.0.0]}}"
    )
    environment = load_matrix(write(tmp_path / "mine.yaml", text)).environment("demo-2.0.0-cu130")

    assert environment.label == "2.0.0-cu130"
    assert environment.image == "envkit/demo:2.0.0-cu130"


def test_an_environment_has_the_framework_s_apps_and_its_own_commands(share: Path) -> None:
    text = "require: [iniconfig==2.0.0]"
    own = "{api: {argv: [python, -m, api, --model], help: [], reason: it has no demo-cli, source: invented}}"
    edit(share / "envmatrix.yaml", text, f"{text}\n    apps: {own}")
    matrix = load_matrix()
    usual, changed = matrix.environment("demo-cu130"), matrix.environment("demo-cu124")

    assert usual.apps == usual.framework.apps
    assert list(changed.apps) == ["page", "api", "train", "talk"]
    assert changed.app("api").argv == ["python", "-m", "api", "--model"]
    assert changed.app("api").help == []
    assert changed.app("api").auth == usual.app("api").auth
    assert changed.app("train") == usual.app("train")


def test_what_an_environment_cannot_run_is_refused_with_the_reason(share: Path) -> None:
    text = "require: [iniconfig==2.0.0]"
    edit(share / "envmatrix.yaml", text, f"{text}\n    apps: {{api: {{reason: it has no demo-cli, source: invented}}}}")
    environment = load_matrix().environment("demo-cu124")

    assert list(environment.apps) == ["page", "train", "talk"]
    with pytest.raises(UsageError, match=r"^demo-cu124 cannot run api: it has no demo-cli$") as caught:
        environment.app("api")
    assert caught.value.hint == "it can run: page, train, talk"
    with pytest.raises(UsageError, match=r"^unknown app of demo: apo$"):
        environment.app("apo")


def test_the_least_driver_is_that_of_the_cuda_major_version(share: Path) -> None:
    matrix = load_matrix()

    assert matrix.least_driver(matrix.environment("demo-cu124")) == "525.60.13"
    assert matrix.least_driver(matrix.environment("demo-cu130")) == "580.65.06"
    assert matrix.least_driver(matrix.environment("demo-cpu")) is None


@pytest.mark.parametrize(
    ("requirements", "version"),
    [
        (["Ini_Config==2.0"], "2.0"),
        (["six==1", "ini.config==2.0 ; python_version > '3'"], "2.0"),
        (["ini-config>=2.0"], None),
        (["six==1"], None),
    ],
)
def test_the_version_is_read_from_the_pin_whatever_its_spelling(requirements: list[str], version: str | None) -> None:
    assert pinned_version(requirements, "ini-config") == version


# Overlay --------------------------------------------------------------------------------------------------------------


def test_an_overlay_adds_and_replaces(share: Path, tmp_path: Path) -> None:
    file = write(
        tmp_path / "mine.yaml",
        f"""\
drivers: {{"12": {{least: "550.54.14", source: invented}}}}
variants: {{cu126: {{cuda: "12.6", source: invented}}}}
torch_stacks:
  mine:
{STACK}\
environments:
  demo-cu126: {{framework: demo, stack: mine, python: "3.12", require: [iniconfig==2.1.0]}}
  demo-cu124: {{framework: demo, stack: old, python: "3.12", require: [iniconfig==1.9.0]}}
torch_layer: [torch]
""",
    )

    matrix = load_matrix(file)

    assert [each.name for each in matrix.environments("demo")] == [
        "demo-cu130",
        "demo-cu126",
        "demo-cu124",
        "demo-cpu",
    ]
    assert matrix.environment("demo-cu124").version == "1.9.0"
    assert matrix.environment("demo-cu130").version == "2.1.0"
    assert matrix.environment("demo-cu130").torch_layer == ("torch",)
    assert matrix.environment("demo-cu130").base.name == "debian:bookworm-slim"
    assert matrix.least_driver(matrix.environment("demo-cu124")) == "550.54.14"


def test_files_of_an_overlay_s_environments_live_beside_it(share: Path, tmp_path: Path) -> None:
    mine = tmp_path / "elsewhere"
    file = write(
        mine / "mine.yaml",
        "environments: {demo-cu124: {framework: demo, stack: old, python: '3.12', require: [iniconfig==1.9.0]}}",
    )

    matrix = load_matrix(file)

    assert matrix.environment("demo-cu124").folder == mine / "images/demo/cu124"
    assert matrix.environment("demo-cu130").folder == share / "images/demo/cu130"


def test_an_overlay_brings_frameworks_of_its_own(share: Path, tmp_path: Path) -> None:
    mine = tmp_path / "elsewhere"
    file = write(
        mine / "mine.yaml",
        "environments: {trio-cu130: {framework: trio, stack: new, python: '3.11', require: [six==1.17.0]}}",
    )
    solo = (share / "images/solo/framework.yaml").read_text()
    write(mine / "images/trio/framework.yaml", solo.replace("solo", "trio"))

    environment = load_matrix(file).environment("trio-cu130")

    assert environment.framework.name == "trio"
    assert environment.folder == mine / "images/trio/cu130"


def test_the_user_s_own_overlay_is_read_unasked(share: Path) -> None:
    write(overlay_file(), "mirrors: {home: {about: mine}}\n")

    assert sorted(load_matrix().file.mirrors) == ["home", "near"]


def test_a_named_overlay_takes_the_place_of_the_user_s_own(share: Path, tmp_path: Path) -> None:
    write(overlay_file(), "not: read\n")

    assert sorted(load_matrix(write(tmp_path / "mine.yaml", "")).file.mirrors) == ["near"]


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "name", "message", "hint"),
    [
        ("framework", "dmo", "unknown framework: dmo", "did you mean `demo`?"),
        ("framework", "vllm", "unknown framework: vllm", "there are: demo, solo"),
        ("environment", "demo-cu13", "unknown environment: demo-cu13", "did you mean `demo-cu130` or `demo-cu124` or `demo-cpu`?"),
        ("mirror", "nera", "unknown mirror: nera", "did you mean `near`?"),
    ],
)  # fmt: skip
def test_an_unknown_name_gets_the_nearest_ones(share: Path, what: str, name: str, message: str, hint: str) -> None:
    matrix: Matrix = load_matrix()

    with pytest.raises(UsageError) as caught:
        getattr(matrix, what)(name)

    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == (message, hint, 2)
