"""What a text costs the embedder, with a model of the production model's size, on whatever device there is.

    python benchmarks/embedding.py [--layers 24] [--texts 2048] [--batch-rows 32 64 128 256 512] [--rounds 3] [--json]

The model has the shape of all-roberta-large-v1 and random weights, made here: it shows speed and never meaning. In float32 and
in bfloat16, with texts of about 40 and of about 128 tokens, these take turns: the platform's embedder with several
`embedding_batch_rows`; the naive way, one text at a time; and a matrix product of the model's own shape, which is what the
device can do. Seconds are the clock's on an accelerator; without one they are processor time, which other load changes less.
Medians of the rounds. Without an accelerator ask for less, as by `--layers 1 --texts 16 --naive-texts 4 --batch-rows 8 16 --rounds 1`.
Results: benchmarks/results/embedding.json.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from msgspec import Struct
from sentence_transformers import SentenceTransformer
from transformers import RobertaConfig, RobertaTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import machine
from platform_assets.embedder import Embedder
from stores.settings import Settings
from tests.small_roberta import CORPUS, build_small_roberta

RESULTS = Path(__file__).parent / "results" / "embedding.json"
PACKAGES = ("numpy", "sentence-transformers", "tokenizers", "torch", "transformers")
PRECISIONS = ("float32", "bfloat16")
TOKENS = (40, 128)
MAX_TOKENS = 160
"""Texts have from three to five quarters of the tokens they are called after, and none is cut."""
MODEL_SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")
PRODUCTION_SIZES = {"vocab_size": 50265, "intermediate_size": 4096}
TEXTS_COMPARED = 32
MATMUL_ROWS_ON_PROCESSOR, MATMUL_ROWS_ON_ACCELERATOR = 512, 8192
MATMUL_SECONDS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=24, help="layers of the model (default 24, as in production)")
    parser.add_argument("--texts", type=int, default=2048, help="texts handed to the embedder at once (default 2048)")
    parser.add_argument("--naive-texts", type=int, default=64, help="texts that are embedded one at a time (default 64)")
    parser.add_argument("--batch-rows", type=int, nargs="+", default=[32, 64, 128, 256, 512], help="values of embedding_batch_rows")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS), help="precisions (default both)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"where the result is kept (default {RESULTS.name} in results/)")
    asked = parser.parse_args()
    result: dict[str, object] = {"measured": datetime.now(UTC).date().isoformat(), "machine": machine(PACKAGES)}
    with tempfile.TemporaryDirectory(prefix="embedding-") as folder:
        config = RobertaConfig.from_pretrained(build_small_roberta(Path(folder), num_hidden_layers=asked.layers, **PRODUCTION_SIZES))
        samples = [sample(Path(folder), tokens, count=asked.texts) for tokens in TOKENS]
        reference = reference_of(Path(folder), samples[0].texts[:TEXTS_COMPARED])
        found = {precision: measured(Path(folder), precision, samples, reference, asked) for precision in asked.precisions}
    result |= {
        "model": {name: getattr(config, name) for name in MODEL_SIZES},
        "texts": asked.texts,
        "naive_texts": asked.naive_texts,
        "rounds": asked.rounds,
        **device_told(),
        **found,
    }
    asked.out.parent.mkdir(exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2) if asked.json else told(result))


class Sample(Struct, frozen=True):
    """Texts of about so many tokens, and how many each really has."""

    tokens: int
    texts: list[str]
    lengths: list[int]


def sample(folder: Path, tokens: int, *, count: int) -> Sample:
    """Texts in no order of length. Equal arguments, equal texts."""
    tokenizer, rng = RobertaTokenizer.from_pretrained(folder), random.Random(tokens)
    words = sorted({word for text in CORPUS for word in text.split()})
    cost = {word: len(tokenizer(f" {word}", add_special_tokens=False)["input_ids"]) for word in words}
    texts = []
    for _ in range(count):
        text, left = "", rng.randint(tokens * 3 // 4, tokens * 5 // 4) - 2  # a text begins and ends with a token of the model's
        while fitting := [word for word in words if cost[word] <= left]:
            word = rng.choice(fitting)
            text, left = f"{text} {word}", left - cost[word]
        texts.append(text)
    return Sample(tokens, texts, [len(ids) for ids in tokenizer(texts)["input_ids"]])


def reference_of(folder: Path, texts: list[str]) -> np.ndarray:
    """What the processor makes of these texts in float32: rows of length 1."""
    return SentenceTransformer(str(folder), device="cpu").encode(texts, show_progress_bar=False)


def measured(
    folder: Path, precision: str, samples: Sequence[Sample], reference: np.ndarray, asked: argparse.Namespace
) -> dict[str, object]:
    """All ways in one precision, with the texts of each sample."""
    embedders = embedders_of(folder, precision, asked.batch_rows)
    first = next(iter(embedders.values()))
    vectors = first.embed(samples[0].texts[:TEXTS_COMPARED]).vectors
    found: dict[str, object] = {"cosine_to_float32_on_processor_min": round(float(np.sum(vectors * reference, axis=1).min()), 7)}
    for each in samples:
        found[f"tokens_{each.tokens}"] = compared(first._model, embedders, each, naive_texts=asked.naive_texts, rounds=asked.rounds)
        print(precision, each.tokens, json.dumps(found[f"tokens_{each.tokens}"]), file=sys.stderr, flush=True)
    return found


def embedders_of(folder: Path, precision: str, batch_rows: Sequence[int]) -> dict[int, Embedder]:
    """The platform's embedder for each number of rows, all with one loaded model."""
    embedders: dict[int, Embedder] = {}
    for rows in batch_rows:
        settings = Settings(
            embedding_model=str(folder), embedding_precision=precision, embedding_max_tokens=MAX_TOKENS, embedding_batch_rows=rows
        )
        embedders[rows] = Embedder(settings)
        vars(embedders[rows])["_model"] = next(iter(embedders.values()))._model
    return embedders


class Way(Struct, frozen=True):
    """Something that is measured: what it does, with how many texts, and how many floating-point operations that takes."""

    run: Callable[[], object]
    texts: int = 0
    flop: float = 0.0


def compared(
    model: SentenceTransformer, embedders: dict[int, Embedder], said: Sample, *, naive_texts: int, rounds: int
) -> dict[str, object]:
    """All ways with the texts of one sample, in turns; ratios are made in each round."""
    config, alone = model[0].model.config, said.texts[:naive_texts]
    flop = [flop_of(config, length) for length in said.lengths]
    ways = {
        "matmul": matmuls(config, model.device, model[0].model.dtype),
        "tokenizer": Way(lambda: model.tokenizer(said.texts), len(said.texts)),
        "naive": Way(lambda: [model.encode(text, show_progress_bar=False) for text in alone], len(alone), sum(flop[: len(alone)])),
        **{str(rows): Way(lambda each=each: each.embed(said.texts), len(said.texts), sum(flop)) for rows, each in embedders.items()},
    }
    for rows, each in embedders.items():  # memory is taken and kernels are loaded before anything is measured
        each.embed(said.texts[:rows])
    taken = [{name: seconds(way.run, model.device) for name, way in ways.items()} for _ in range(rounds)]

    def median(of: Callable[[dict[str, float]], float]) -> float:
        return float(f"{statistics.median(of(each) for each in taken):.4g}")

    def rate(name: str) -> Callable[[dict[str, float]], float]:
        return lambda each: ways[name].texts / each[name]

    def of_matmul(name: str) -> Callable[[dict[str, float]], float]:
        return lambda each: ways[name].flop / each[name] / (ways["matmul"].flop / each["matmul"])

    def times_naive(name: str) -> Callable[[dict[str, float]], float]:
        return lambda each: rate(name)(each) / rate("naive")(each)

    embedder = {
        name: {"texts_per_s": median(rate(name)), "times_naive": median(times_naive(name)), "of_matmul": median(of_matmul(name))}
        for name in map(str, embedders)
    }
    return {
        "tokens_mean": round(statistics.mean(said.lengths), 1),
        "gflop_per_text": round(statistics.mean(flop) / 1e9, 2),
        "matmul_gflop_per_s": median(lambda each: ways["matmul"].flop / each["matmul"] / 1e9),
        "tokenizer_texts_per_s": median(rate("tokenizer")),
        "naive": {"texts_per_s": median(rate("naive")), "of_matmul": median(of_matmul("naive"))},
        "embedder_by_batch_rows": embedder,
        "best_batch_rows": int(max(embedder, key=lambda name: embedder[name]["texts_per_s"])),
    }


def flop_of(config: RobertaConfig, tokens: int) -> float:
    """Floating-point operations for a text: those of the layers' matrix products, attention's in them."""
    weights = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    return config.num_hidden_layers * (2.0 * tokens * weights + 4.0 * tokens**2 * config.hidden_size)


def matmuls(config: RobertaConfig, device: torch.device, dtype: torch.dtype) -> Way:
    """Products of many tokens with a layer's largest matrix, as many as take about half a second, or one."""
    rows = MATMUL_ROWS_ON_PROCESSOR if device.type == "cpu" else MATMUL_ROWS_ON_ACCELERATOR
    tokens = torch.randn(rows, config.hidden_size, dtype=dtype, device=device)
    weights = torch.randn(config.intermediate_size, config.hidden_size, dtype=dtype, device=device)

    def product() -> torch.Tensor:
        return torch.nn.functional.linear(tokens, weights)

    product()  # what a first one costs besides is not measured
    count = max(1, round(MATMUL_SECONDS / seconds(product, device)))

    def run() -> None:
        for _ in range(count):
            product()

    return Way(run, flop=2.0 * count * rows * config.hidden_size * config.intermediate_size)


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """What a run takes, until the device has done it: on the clock, or of processor time where that is the device."""
    if device.type == "cpu":
        began = time.process_time()
        run()
        return time.process_time() - began
    torch.accelerator.synchronize()
    began = time.perf_counter()
    run()
    torch.accelerator.synchronize()
    return time.perf_counter() - began


def device_told() -> dict[str, object]:
    """What was measured on: the accelerator by its name, or so many threads of the processor."""
    if torch.cuda.is_available():
        return {"device": torch.cuda.get_device_name(), "seconds_of": "clock"}
    if torch.accelerator.is_available():
        return {"device": torch.accelerator.current_accelerator().type, "seconds_of": "clock"}
    return {"device": "cpu", "threads": torch.get_num_threads(), "seconds_of": "processor"}


def told(result: dict) -> str:
    lines = []
    for precision in filter(result.__contains__, PRECISIONS):
        for tokens in TOKENS:
            found = result[precision][f"tokens_{tokens}"]
            best = found["embedder_by_batch_rows"][str(found["best_batch_rows"])]
            lines.append(
                f"{precision}, {tokens} tokens, {result['device']}: {best['texts_per_s']} texts/s with {found['best_batch_rows']} rows, "
                f"{best['times_naive']} times the naive way, {best['of_matmul']:.0%} of what a matrix product reaches"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
