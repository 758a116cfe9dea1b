#!/usr/bin/env python3
"""How far `screen learn` comes with a budget: AUPRC on held-back rows against a screen that saw every label.

The reasoner is a stand-in that answers from the data set's labels (--reasoner replay:FILE#CATEGORY), so the figures
are about what is asked, not about how well a model judges. Per task and seed: rows are split by group into a corpus
without labels and held-back rows; three screens are learnt: from all labels of the corpus, with the budget drawn by
`screen learn`, and with the same budget drawn by chance alone (--floor 1). AUPRC is computed here from
`screen score`.

    bench/learn_curve.py --safeguard build/src/cli/safeguard --data ../shared/data
"""
import argparse
import gzip
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

TASKS = {  # name: file, label, most rows of the corpus
    "toxicchat": ("toxicchat.jsonl.gz", "toxic", 5000),
    "edos": ("edos_sexism.jsonl.gz", "sexism", 5000),
}
TEST_SHARE = 0.25  # at least


def average_precision(pairs):
    """Σ (R_k − R_{k−1}) P_k over distinct scores, highest first."""
    pairs = sorted(pairs, reverse=True)
    positives = sum(y for _, y in pairs)
    area = found = seen = 0
    at = 0
    while at < len(pairs):
        end = at
        while end < len(pairs) and pairs[end][0] == pairs[at][0]:
            end += 1
        new = sum(y for _, y in pairs[at:end])
        found += new
        seen = end
        area += new / positives * found / seen
        at = end
    return area


def split(rows, label, most, seed):
    """(corpus, held back) by group."""
    rows = [row for row in rows if label in row["labels"]]
    groups = sorted({row["group"] for row in rows})
    random.Random(seed).shuffle(groups)
    share = min(1 - TEST_SHARE, most / len(rows))
    kept = set(groups[: int(share * len(groups))])
    return [row for row in rows if row["group"] in kept][:most], [row for row in rows if row["group"] not in kept]


def write(path, rows, labelled):
    with open(path, "w") as f:
        for row in rows:
            line = {"id": row["id"], "text": row["text"]}
            if labelled:
                line |= {"labels": row["labels"], "group": row["group"]}
            f.write(json.dumps(line) + "\n")


def run(args, *words):
    done = subprocess.run([args.safeguard, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stderr}")
    return done.stdout


def measure(args, screen, test_path, truth, category=None):
    options = ["--category", category] if category else []
    lines = run(args, "screen", "score", *options, screen, test_path).splitlines()
    scores = [json.loads(line) for line in lines]
    return average_precision([(line["margin"], truth[line["id"]]) for line in scores if line.get("margin") is not None])


def one(args, task, seed, folder):
    file, label, most = TASKS[task]
    with gzip.open(pathlib.Path(args.data) / file, "rt") as f:
        rows = [json.loads(line) for line in f]
    corpus, held_back = split(rows, label, most, seed)
    paths = {name: folder / name for name in ("corpus.jsonl", "test.jsonl", "labelled.jsonl", "policy.md")}
    write(paths["corpus.jsonl"], corpus, False)
    write(paths["test.jsonl"], held_back, False)
    write(paths["labelled.jsonl"], corpus, True)
    paths["policy.md"].write_text(f"# Stand-in\n\nAnswer 1 for what is {label}, else 0.\n")
    truth = {row["id"]: row["labels"][label] for row in held_back}

    out = folder / "full.screen"
    run(args, "screen", "train", "--policy", paths["policy.md"], "--labels", paths["labelled.jsonl"], "--category", label,
        "--out", out)
    result = {"task": task, "seed": seed, "corpus": len(corpus), "held_back": len(held_back),
              "full": measure(args, out, paths["test.jsonl"], truth, label)}
    for name, extra in (("learn", []), ("uniform", ["--floor", 1, "--audit", 0, "--first", args.budget])):
        out = folder / f"{name}.screen"
        labels = folder / f"{name}.labels.jsonl"
        report = json.loads(
            run(args, "screen", "learn", "--policy", paths["policy.md"], "--corpus", paths["corpus.jsonl"], "--budget",
                args.budget, "--labels", labels, "--out", out, "--seed", seed, "--reasoner",
                f"replay:{paths['labelled.jsonl']}#{label}", "--threads", args.threads, "--json", "--quiet", *extra)
        )
        result[name] = measure(args, out, paths["test.jsonl"], truth)
        result[f"{name}_seconds"] = report["seconds"]
        result[f"{name}_violating"] = report["rounds"][-1]["violating"]
        labels.unlink()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--safeguard", required=True)
    parser.add_argument("--data", required=True, help="folder of the labelled sets")
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tasks", default="toxicchat,edos")
    args = parser.parse_args()
    args.safeguard = str(pathlib.Path(args.safeguard).resolve())
    for task in args.tasks.split(","):
        results = []
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            with tempfile.TemporaryDirectory() as folder:
                results.append(one(args, task, seed, pathlib.Path(folder)))
            print(json.dumps(results[-1]), flush=True)
        full, learn, uniform = ([r[name] for r in results] for name in ("full", "learn", "uniform"))
        ratio = [a / b for a, b in zip(learn, full)]
        chance = [a / b for a, b in zip(uniform, full)]
        print(f"{task}: {args.budget} answers of {results[0]['corpus']} rows; AUPRC full {statistics.mean(full):.3f}, "
              f"learn {statistics.mean(learn):.3f} ({statistics.mean(ratio):.3f} of full, "
              f"{min(ratio):.3f}–{max(ratio):.3f}), by chance {statistics.mean(uniform):.3f} "
              f"({statistics.mean(chance):.3f})", flush=True)


if __name__ == "__main__":
    main()
