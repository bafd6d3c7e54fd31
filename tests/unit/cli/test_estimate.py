"""`envkit estimate`: what it prints, what it takes for a model, and its exit status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from envkit.estimate.catalogue import known_models
from envkit.host.facts import Gpu, HostFacts
from tests.unit.hub.files import FIRST, SECOND, SHARDS, tensors, write, write_cache

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Envkit, Machine

TINY = {"model_type": "mistral", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12, "vocab_size": 10}  # fmt: skip


def test_every_part_is_told_and_what_would_fit(envkit: Envkit) -> None:
    result = envkit("estimate", "Qwen/Qwen2.5-7B-Instruct", "--method", "full", "--gpu", "4090x8", "--zero", "2")

    assert result.status == 1
    assert result.out == (
        "Qwen/Qwen2.5-7B: 7,615,616,512 parameters\n"
        "full, batch 1 × 2048 tokens, 8 GPUs, ZeRO 2\n"
        "\n"
        "  weights        14.19 GiB\n"
        "  gradients       1.77 GiB\n"
        "  optimizer      10.64 GiB\n"
        "  activations     0.83 GiB\n"
        "  logits          2.90 GiB\n"
        "  buffers         1.86 GiB\n"
        "  context         1.00 GiB\n"
        "  total          33.19 GiB on each GPU\n"
        "\n"
        "rule of thumb: 20 bytes for a parameter, 141.85 GiB on all GPUs together\n"
        "  note: an estimate: its error was not measured on a GPU\n"
        "✗ does not fit 8 × 4090 (23.99 GiB): 9.20 GiB too much\n"
        "  would fit: --zero 3  (21.71 GiB)\n"
        "  would fit: --method lora  (19.09 GiB)\n"
    )


def test_it_fits(envkit: Envkit) -> None:
    result = envkit("estimate", "Qwen2.5-0.5B", "--method", "inference", "--gpu", "8GB")

    assert result.status == 0
    assert "✓ fits 8GB (8.00 GiB): 5.99 GiB are left" in result.out


def test_this_machines_gpus_are_compared_with(envkit: Envkit, machine: Machine) -> None:
    machine.facts = HostFacts(gpus=tuple(Gpu(n, "NVIDIA L4", f"GPU-{n}", 23034, "8.9") for n in range(2)))

    data = envkit("estimate", "7B", "--json").data

    assert data["gpu"] == {"name": "NVIDIA L4", "count": 2, "memory_mib": 23034}
    assert data["wish"]["gpus"] == 2
    assert data["fits"] is True


def test_without_a_gpu_nothing_is_compared(envkit: Envkit) -> None:
    result = envkit("estimate", "7B")

    assert result.status == 0
    assert "there is no GPU here to compare with: name one, such as `--gpu H100x8`" in result.out
    assert envkit("estimate", "7B", "--json").data["fits"] is None


def test_described_facts_are_another_machine(envkit: Envkit, tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text('{"gpus": [{"name": "NVIDIA L4", "memory_mib": 23034}]}')

    data = envkit("estimate", "70B", "--facts", str(tmp_path / "facts.json"), "--json").data

    assert (data["gpu"]["name"], data["fits"]) == ("NVIDIA L4", False)


def test_a_config_json_is_counted(envkit: Envkit, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY))

    for name in ("config.json", ""):
        assert envkit("estimate", str(tmp_path / name), "--json").data["parameters"] == 160 + 8 + 4 * 64 + 3 * 96 + 16


def test_the_headers_of_a_folder_decide_the_count_and_the_size(envkit: Envkit, tmp_path: Path) -> None:
    write(tmp_path, {"config.json": json.dumps(TINY).encode(), "model.safetensors": tensors(a=[1000], b=[7])})

    data = envkit("estimate", str(tmp_path), "--method", "inference", "--json").data

    assert data["parameters"] == 1007
    assert data["parts"][0] == {"part": "weights", "bytes": 4028}


def test_the_same_weights_in_another_layout_count_once(envkit: Envkit, tmp_path: Path) -> None:
    """Mistral's repositories have all of it again in `consolidated.safetensors`."""
    config = json.dumps(TINY).encode()
    write(tmp_path, {"config.json": config, **SHARDS, "consolidated.safetensors": tensors(a=[15])})

    assert envkit("estimate", str(tmp_path), "--json").data["parameters"] == 15


@pytest.mark.parametrize("how", ["not there", "a link to nowhere"])
def test_of_half_a_download_no_half_of_it_is_told(envkit: Envkit, tmp_path: Path, how: str) -> None:
    write(tmp_path, {"config.json": json.dumps(TINY).encode(), FIRST: SHARDS[FIRST]})
    if how != "not there":
        (tmp_path / SECOND).symlink_to(tmp_path / "gone")

    result = envkit("estimate", str(tmp_path))

    assert result.status == 2
    assert result.err.startswith(f"error: 1 of 2 safetensors files are in {tmp_path}\n\nhint: ")


def test_of_quantised_files_the_shape_decides_the_count(envkit: Envkit, tmp_path: Path) -> None:
    config = {**TINY, "quantization_config": {"quant_method": "gptq"}}
    write(tmp_path, {"config.json": json.dumps(config).encode(), "model.safetensors": tensors(a=[100])})

    data = envkit("estimate", str(tmp_path), "--method", "inference", "--json").data

    assert data["parameters"] == 160 + 8 + 4 * 64 + 3 * 96 + 16
    assert data["parts"][0] == {"part": "weights", "bytes": 400}


def test_a_downloaded_model_is_known_by_its_name(
    envkit: Envkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    write_cache(tmp_path / "hub", "someone/tiny", {"config.json": json.dumps(TINY).encode()})

    assert envkit("estimate", "someone/tiny", "--json").data["model"] == "someone/tiny"


def test_a_broken_file_is_told_by_the_command_that_looks_into_it(envkit: Envkit, tmp_path: Path) -> None:
    write(tmp_path, {"config.json": json.dumps(TINY).encode(), "model.safetensors": tensors(a=[100])[:-1]})

    result = envkit("estimate", str(tmp_path))

    assert result.status == 2
    assert result.err.startswith(f"error: a safetensors file in {tmp_path} is broken: it has ")
    assert result.err.endswith(f"hint: `envkit model check {tmp_path}` says which\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["someone/unknown"], "someone/unknown is not known, and not downloaded"),
        (["7Q"], "no such model: 7Q"),
        (["7B", "--gpu", "Voodoo2"], "unknown GPU: Voodoo2"),
        (["7B", "--method", "qlora", "--zero", "3"], "DeepSpeed's ZeRO 3 does not divide 4-bit weights"),
        (["7B", "--targets", "c_attn"], "the model has nothing to adapt that is called c_attn"),
    ],
)
def test_mistakes_are_told(envkit: Envkit, args: list[str], message: str) -> None:
    result = envkit("estimate", *args)

    assert result.status == 2
    assert result.err.startswith(f"error: {message}\n\nhint: ")


def test_a_note_says_what_the_numbers_stand_on(envkit: Envkit, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**TINY, "model_type": "brand_new"}))

    assert envkit("estimate", "7B", "--json").data["notes"][1:] == [
        "the shape is that of a model of about its size; a config.json tells more"
    ]
    assert envkit("estimate", str(tmp_path), "--json").data["notes"][1:] == [
        "the model type `brand_new` is not known here: it was taken for a plain decoder"
    ]
    assert len(envkit("estimate", "mixtral-8x7b-v0.1", "--method", "qlora", "--json").data["notes"]) == 3
    assert len(known_models()) > 20
