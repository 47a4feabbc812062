"""Fuzz the gate before the runtime with atheris: coverage-guided, from the models of the tests, for as long as asked.

A finding is anything that the gate raises but ``UnsafeModel``, and a model that it lets through although the onnx
package reads data in other files, a foreign domain, an operator that loads code or a negative dimension in it.
libFuzzer then writes the input beside the corpus and ends with an error; ``--replay FILE`` runs that input alone.

Run it:  pip install atheris && python benchmarks/fuzz_onnx_gate.py --seconds 300
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

#: The models and the oracle are those of the tests, which are not installed.
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

try:
    import atheris
except ImportError:
    sys.exit("the fuzzer needs atheris: pip install atheris")

GATE = ["edgecost.profiler.onnx_gate", "edgecost.profiler.onnx_wire", "edgecost.profiler.onnx_functions"]
with atheris.instrument_imports(include=GATE):
    from edgecost.profiler.errors import UnsafeModel
    from edgecost.profiler.onnx_gate import check_onnx
    from tests.onnx_models import CORPUS
    from tests.onnx_oracle import inside, unsafe

#: Larger inputs are slower, and reach nothing that smaller ones do not.
INPUT_BYTES_MAX = 8192
SHOWN_EVERY = 200_000
#: Words that a mutation would hardly find by itself.
WORDS = ["EPContext", "PythonOp", "Relu", "com.microsoft", "com.microsoft.nchwc", "ai.onnx", "ai.onnx.ml", "ORTM"]


class Target:
    """What is run on each input; counts what became of them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, model: bytes) -> None:
        self.counts["executions"] += 1
        if self.counts["executions"] % SHOWN_EVERY == 0:
            print(dict(self.counts), flush=True)
        try:
            check_onnx(model)
        except UnsafeModel:
            self.counts["refused"] += 1
            return
        parsed = onnx.ModelProto()
        try:
            parsed.ParseFromString(model)
        except DecodeError:
            self.counts["let through, no model to onnx"] += 1
            return
        self.counts["let through, safe to onnx"] += 1
        broken = unsafe(parsed)
        if broken:
            raise AssertionError(f"let through, and to onnx it breaks: {', '.join(sorted(broken))}")


def mutate(data: bytes, size_max: int, seed: int) -> bytes:
    """Half of the time libFuzzer's own mutation, else one of a message inside, with the lengths around it put right.

    Without the second kind nearly every input ends at a length that no longer fits.
    """
    dice = random.Random(seed)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        return bytes(atheris.Mutate(data, size_max))
    messages = [message for message, _ in inside(model)]
    chosen = dice.choice(messages)
    if chosen is model or dice.random() < 0.5:
        return bytes(atheris.Mutate(data, size_max))
    changed = atheris.Mutate(chosen.SerializeToString(), size_max)
    if dice.random() < 0.2:
        changed = dice.choice(messages).SerializeToString()
    try:
        chosen.ParseFromString(bytes(changed))
    except DecodeError:
        return bytes(atheris.Mutate(data, size_max))
    return model.SerializeToString()[:size_max]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="how long [default: 60]")
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer [default: 1]")
    parser.add_argument(
        "--keep",
        type=Path,
        default=ROOT / "build" / "fuzz-onnx-gate",
        help="folder of what reached something new, and of findings; goes on there [default: build/fuzz-onnx-gate]",
    )
    parser.add_argument("--replay", type=Path, help="run this input alone")
    arguments = parser.parse_args()
    target = Target()
    if arguments.replay:
        target(arguments.replay.read_bytes())
        print(dict(target.counts))
        return
    kept, seeds = arguments.keep / "kept", arguments.keep / "seeds"
    for folder in (kept, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    for name, model in CORPUS.items():
        (seeds / name.replace(" ", "-")).write_bytes(model)
    words = arguments.keep / "words"
    words.write_text("".join(f'"{word}"\n' for word in WORDS))
    options = [
        f"-max_total_time={arguments.seconds}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-seed={arguments.seed}",
        f"-dict={words}",
        f"-artifact_prefix={arguments.keep}/",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(kept), str(seeds)], target, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
