#!/usr/bin/env python3
"""Screens on labelled data, through the command line alone; measures are this script's own.

    bench/screen.py quality --safeguard BUILD/safeguard --data FOLDER [--splits 5] [--task NAME …]
    bench/screen.py speed   --safeguard BUILD/safeguard --bench BUILD/src/screen/bench_screen --data FOLDER

quality: splits by group, three quarters to train. Average precision, F1 at the best threshold, the share of benign rows
below the margin that 5 and 10 % of the violating rows stay under, and at the 5 % margin the share of violating rows that
is not cleared when they are written in evasive ways (their margin is not below, or the gate holds them), and of benign
rows that the gate alone holds back.
speed: texts of about 100 bytes, one thread, and fastText (dim 100, word bigrams) over the same file in the same run."""
import argparse
import gzip
import json
import pathlib
import random
import subprocess
import tempfile
import time

TASKS = {
    "openai any": ("openai_moderation", None), "openai sexual": ("openai_moderation", "sexual"),
    "openai hate": ("openai_moderation", "hate"), "openai self-harm": ("openai_moderation", "self_harm"),
    "toxicchat toxic": ("toxicchat", "toxic"), "toxicchat jailbreak": ("toxicchat", "jailbreak"),
    "edos sexism": ("edos_sexism", "sexism"), "sms spam": ("sms_spam", "spam"),
}
LOOKALIKES = str.maketrans("aceopxyiAEOPTXKMHBC", "асеорхуіАЕОРТХКМНВС")
LEET = str.maketrans("aeiostAEIOST", "431057431057")


def load(folder, task):
    name, category = TASKS[task]
    out = []
    with gzip.open(folder / f"{name}.jsonl.gz", "rt") as file:
        for row in map(json.loads, file):
            labels = row["labels"]
            value = labels.get(category) if category else int(1 in labels.values()) if labels else None
            if value is not None:
                out.append((row["text"], value, str(row["group"])))
    return out


def split(rows, seed):
    groups = sorted({g for _, _, g in rows})
    random.Random(seed).shuffle(groups)
    train = set(groups[:len(groups) * 3 // 4])
    return [r for r in rows if r[2] in train], [r for r in rows if r[2] not in train]


def write(path, rows):
    with open(path, "w") as file:
        for i, (text, value, group) in enumerate(rows):
            file.write(json.dumps({"id": str(i), "text": text, "labels": {"violation": value}, "group": group}) + "\n")


class Screen:
    def __init__(self, program, folder, rows, options):
        self.program, self.folder, self.path = program, folder, folder / "s.screen"
        policy = folder / "policy.md"
        policy.write_text("# Policy\n\nAnswer with exactly one character: 1 for a violation, 0 for anything else.\n")
        write(folder / "train.jsonl", rows)
        subprocess.run([program, "screen", "train", "--policy", policy, "--labels", folder / "train.jsonl", "--out",
                        self.path, *options], check=True, capture_output=True)

    def score(self, texts):
        """(margin, evasive) of each."""
        rows = [(t if t.strip() else "-", 0, str(i)) for i, t in enumerate(texts)]
        write(self.folder / "score.jsonl", rows)
        done = subprocess.run([self.program, "screen", "score", self.path, self.folder / "score.jsonl"], check=True,
                              capture_output=True)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return [(line["margin"], line["evasive"]) for line in lines]


def average_precision(values, scores):
    order = sorted(range(len(values)), key=lambda i: -scores[i])
    positives, found, area, i = sum(values), 0, 0.0, 0
    best_f1 = 0.0
    while i < len(order):
        end, gained = i, 0
        while end < len(order) and scores[order[end]] == scores[order[i]]:
            gained += values[order[end]]
            end += 1
        found += gained
        area += gained / positives * found / end
        best_f1 = max(best_f1, 2 * found / (end + positives))
        i = end
    return area, best_f1


def quantile(numbers, q):
    numbers = sorted(numbers)
    return numbers[int(q * (len(numbers) - 1))]


def evasions(texts, benign, rng):
    def pad(text, times):
        words = []
        while len(words) < times * max(1, len(text.split())):
            words += rng.choice(benign).split()
        at = rng.randrange(len(words) + 1)
        return " ".join(words[:at] + [text] + words[at:])

    def letters(text, between):
        return " ".join(between.join(w) if len(w) > 2 and w.isalpha() else w for w in text.split())

    def full_width(text):
        return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)

    return {
        "look-alikes": [t.translate(LOOKALIKES) for t in texts],
        "zero-width": ["".join(c + ("\u200b" if c.isalpha() and rng.random() < 0.5 else "") for c in t) for t in texts],
        "leet": [t.translate(LEET) for t in texts],
        "spaced letters": [letters(t, " ") for t in texts],
        "dots": [letters(t, ".") for t in texts],
        "full-width": [full_width(t) for t in texts],
        **{f"padding x{n}": [pad(t, n) for t in texts] for n in (1, 4, 16)},
    }


def mean(numbers):
    return sum(numbers) / len(numbers)


def quality(args):
    for task in args.task or TASKS:
        rows = load(args.data, task)
        results, kept, gate = [], {}, []
        for seed in range(args.splits):
            train, test = split(rows, 100 + seed)
            with tempfile.TemporaryDirectory() as folder:
                screen = Screen(args.safeguard, pathlib.Path(folder), train, args.option)
                scored = screen.score([t for t, _, _ in test])
                values = [v for _, v, _ in test]
                margins = [m for m, _ in scored]
                area, f1 = average_precision(values, margins)
                positive = [m for m, v in zip(margins, values) if v]
                negative = [m for m, v in zip(margins, values) if not v]
                at5, at10 = quantile(positive, 0.05), quantile(positive, 0.1)
                results.append((area, f1, mean([m < at5 for m in negative]), mean([m < at10 for m in negative])))
                gate.append(mean([e and m < at5 for (m, e), v in zip(scored, values) if not v]))
                rng = random.Random(seed)
                bad = [t for t, v, _ in test if v]
                rng.shuffle(bad)
                for name, texts in evasions(bad[:150], [t for t, v, _ in train if not v], rng).items():
                    kept.setdefault(name, []).append(mean([e or m >= at5 for m, e in screen.score(texts)]))
        area, f1, below5, below10 = (mean(c) for c in zip(*results))
        print(f"{task:20s} AP {area:.4f}  best F1 {f1:.3f}  benign below: 5 % {below5:.3f}, 10 % {below10:.3f}  "
              f"held by the gate alone {mean(gate):.4f}", flush=True)
        print("   not cleared: " + ", ".join(f"{k} {mean(v):.3f}" for k, v in kept.items()), flush=True)


def lines_of(texts, size):
    """Lines of about so many bytes, cut at spaces."""
    line, length = [], 0
    for word in " ".join(texts).split():
        line.append(word)
        length += len(word.encode()) + 1
        if length >= size:
            yield " ".join(line)
            line, length = [], 0


def one_line(text):
    return " ".join(text.split())


def speed(args):
    def texts(*names):
        for name in names:
            with gzip.open(args.data / f"{name}.jsonl.gz", "rt") as file:
                yield from (one_line(json.loads(line)["text"]) for line in file)

    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        train = load(args.data, "edos sexism")
        screen = Screen(args.safeguard, tmp, train, ["--c", "10", "--vector-scale", "0.6"])
        ascii_texts = [t for t in texts("edos_sexism", "davidson", "toxicchat", "sms_spam") if t.isascii()]
        mixed_texts = [t for t in texts("mhc_arabic", "mhc_hindi", "mhc_mandarin", "mhc_french", "hatemoji_build")
                       if not t.isascii()]
        for name, source in (("ascii", ascii_texts), ("mixed", mixed_texts)):
            rng.shuffle(source)
            (tmp / f"{name}.txt").write_text("\n".join(list(lines_of(source, 100))[:20000]) + "\n")
        subprocess.run([args.bench, "score", screen.path, tmp / "ascii.txt", tmp / "mixed.txt"], check=True)
        labelled = tmp / "labelled.txt"
        lines = list(lines_of(ascii_texts, 100))
        bad = [w for t, v, _ in train if v for w in t.split()]
        labelled.write_text("".join(f"__label__{i % 4 == 0:d} {line} {rng.choice(bad) if i % 4 == 0 else ''}\n"
                                    for i, line in zip(range(100_000), lines * (1 + 100_000 // len(lines)))))
        subprocess.run([args.bench, "fit", labelled, "10", "0.6"], check=True)
        (tmp / "fast.txt").write_text("".join(f"__label__{v} {one_line(t).lower()}\n" for t, v, _ in train))
        subprocess.run(["fasttext", "supervised", "-input", tmp / "fast.txt", "-output", tmp / "fast", "-dim", "100",
                        "-wordNgrams", "2", "-thread", "1", "-epoch", "5", "-verbose", "0"], check=True)
        (tmp / "one.txt").write_text("x\n")
        best = {}
        for _ in range(3):
            for name in ("one", "ascii"):
                start = time.perf_counter()
                subprocess.run(["fasttext", "predict", tmp / "fast.bin", tmp / f"{name}.txt"], check=True,
                               capture_output=True)
                best[name] = min(best.get(name, 1e9), time.perf_counter() - start)
        n = sum(1 for _ in open(tmp / "ascii.txt"))
        print(json.dumps({"fasttext_per_s": round(n / (best["ascii"] - best["one"])), "texts": n}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["quality", "speed"])
    parser.add_argument("--safeguard", required=True)
    parser.add_argument("--bench")
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--task", action="append")
    parser.add_argument("--option", action="append", default=[], help="for screen train, as --option=--c --option=10")
    args = parser.parse_args()
    (quality if args.what == "quality" else speed)(args)


if __name__ == "__main__":
    main()
