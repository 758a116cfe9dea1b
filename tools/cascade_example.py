#!/usr/bin/env python3
"""The worked example of docs/cascade.md: from a written policy to a proven cascade, on real messages.

    tools/cascade_example.py --safeguard build/safeguard --data ../shared/data            # print it
    tools/cascade_example.py --safeguard build/safeguard --data ../shared/data --write    # into docs/cascade.md

Splits the SMS spam set by group into messages to learn from (labels hidden), a random sample that people have labelled,
and the traffic of another day. The reasoner of the arithmetic is a stand-in that answers from the data's labels. The
times are those of the demo's model, which judges poorly: --model MODEL takes another, --items how many contents it is
shown, 0 leaves the times out.
"""
import argparse
import gzip
import json
import pathlib
import random
import re
import resource
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
POLICY = "policies/spam-scams.md"
BUDGET = 500
BEGIN, END = "<!-- made by tools/cascade_example.py -->\n", "<!-- end -->\n"


class Example:
    def __init__(self, binary, folder):
        self.binary, self.folder, self.out = binary, folder, []

    def say(self, text=""):
        self.out.append(text)

    def run(self, *words, show=None, allowed=(0,)):
        """Run the program in the example's folder; with `show` the command stands in the text."""
        words = [str(word) for word in words]
        done = subprocess.run([self.binary, *words], capture_output=True, text=True, cwd=self.folder)
        if done.returncode not in allowed:
            sys.exit(f"safeguard {shlex.join(words)}: {done.returncode}\n{done.stderr}")
        if show is not None:
            lines, line = [], "$ safeguard"
            for word in words:
                word = shlex.quote(word) if not re.fullmatch(r"[\w./:#=-]+", word) else word
                if len(line) + len(word) > 100:
                    lines.append(line + " \\")
                    line = "   "
                line += " " + word
            lines.append(line)
            text = show(done.stdout) if callable(show) else done.stdout
            self.say("```console\n" + "\n".join(lines) + "\n" + text.rstrip("\n") + ("\n" if text else "") + "```\n")
        return done.stdout


def write(path, rows, keep):
    with open(path, "w") as f:
        for row in rows:
            f.write(json.dumps({key: row[key] for key in keep}) + "\n")


def parts(rows, shares, seed=1):
    groups = sorted({row["group"] for row in rows})
    random.Random(seed).shuffle(groups)
    where, at, total = {}, 0, 0.0
    for part, share in enumerate(shares):
        total += share
        end = round(total * len(groups))
        where |= {group: part for group in groups[at:end]}
        at = end
    return [[row for row in rows if where[row["group"]] == part] for part in range(len(shares))]


def thin(text):
    """Of a learning curve every other line is enough."""
    lines = text.splitlines()
    return "\n".join(line for i, line in enumerate(lines) if i <= 1 or i % 2 or line.startswith("final"))


def verdicts(example, out, *words):
    """check --batch over the traffic → its verdicts."""
    example.run("check", "--policy", "policy.md", *words, "--batch", "traffic.jsonl", "--out", out, "--quiet",
                allowed=(0, 3))
    with open(example.folder / out) as f:
        return [json.loads(line) for line in f]


def processor_seconds(example, rows, *words):
    """Of `check --batch` over these lines, beyond those of its start: they do not depend on what else the machine does."""
    used = []
    for part in (rows[:1], rows):
        (example.folder / "timed.jsonl").write_text("".join(part))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        example.run("check", "--policy", "policy.md", *words, "--batch", "timed.jsonl", "--out", "timed.out", "--quiet",
                    "--overwrite", allowed=(0, 3))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return (used[1] - used[0]) / (len(rows) - 1)


def measure_times(example, model, items, cascade_options, escalated):
    """One item after the other with a real model, and what that makes of the cascade."""
    with open(example.folder / "traffic.jsonl") as f:
        rows = f.readlines()
    screen = processor_seconds(example, rows, *cascade_options, "--mode", "screen-only")
    reasoner = processor_seconds(example, rows[: items + 1], "--model", model, "--reasoning-budget", 64, "--threads", 1)
    cascade = screen + escalated * reasoner
    example.say("| seconds of one core per item | |\n|---|---:|")
    example.say(f"| the reasoner alone (mean of {items} items) | {reasoner:.2f} |")
    example.say(f"| normaliser and screen, verdict written ({len(rows) - 1} items) | {screen:.5f} |")
    example.say(f"| **the cascade**: screen + {100 * escalated:.1f} % × reasoner | **{cascade:.2f}** |")
    example.say(f"| reasoner alone ÷ cascade | **{reasoner / cascade:.1f}** |\n")


def make(example, data, model, items):
    with gzip.open(pathlib.Path(data) / "sms_spam.jsonl.gz", "rt") as f:
        rows = [json.loads(line) for line in f]
    corpus, sample, traffic = parts(rows, (0.4, 0.3, 0.3))
    write(example.folder / "corpus.jsonl", corpus, ("id", "text"))
    write(example.folder / "traffic.jsonl", traffic, ("id", "text"))
    write(example.folder / "sample.jsonl", sample, ("id", "text", "labels", "group"))
    write(example.folder / "answers.jsonl", rows, ("text", "labels"))
    (example.folder / "policy.md").write_text((ROOT / POLICY).read_text())
    spam = {row["id"]: row["labels"]["spam"] for row in rows}
    n_spam = sum(spam[row["id"]] for row in sample)

    example.say(f"The policy is `{POLICY}`. The messages are {len(rows)} real ones (SMS Spam Collection), split by group: "
                f"{len(corpus)} to learn from, their labels hidden; a random sample of {len(sample)} that people have "
                f"labelled ({n_spam} spam); {len(traffic)} as the traffic of another day. The reasoner is a stand-in that "
                "answers from the labels (`replay:`), as if it judged like the people who made them.\n")
    example.say(f"**1. Learn.** The reasoner is asked about {BUDGET} of the {len(corpus)} messages.\n")
    example.run("screen", "learn", "--policy", "policy.md", "--corpus", "corpus.jsonl", "--budget", BUDGET, "--labels",
                "spam.labels.jsonl", "--out", "spam.screen", "--reasoner", "replay:answers.jsonl#spam", "--quiet",
                show=thin)
    example.say("**2. Prove.** The labelled sample was drawn by chance and the screen has not seen it.\n")
    example.run("labels", "import", "--policy", "policy.md", "--labels", "spam.labels.jsonl", "--data", "sample.jsonl",
                "--category", "spam", "--drawn", "uniform", "--p", 1, show="")
    example.run("screen", "certify", "--policy", "policy.md", "--labels", "spam.labels.jsonl", "--people", "--screen",
                "spam.screen", "--miss", 0.05, "--out", "spam.certificate", show=True)
    example.say("**3. Run.** The traffic of the other day.\n")
    cascade = ["--screen", "spam.screen", "--certificate", "spam.certificate"]
    lines = verdicts(example, "day.verdicts", *cascade, "--reasoner", "replay:answers.jsonl#spam")
    n = len(lines)
    calls = sum(line["stage"] == "reasoner" for line in lines)
    harmless = [line for line in lines if not spam[line["id"]]]
    violating = [line for line in lines if spam[line["id"]]]
    cleared = sum(line["stage"] == "screen" for line in harmless)
    missed = sum(line["stage"] == "screen" for line in violating)
    example.say("```console\n$ safeguard check --policy policy.md --screen spam.screen --certificate spam.certificate \\\n"
                "    --reasoner replay:answers.jsonl#spam --batch traffic.jsonl --out day.verdicts\n```\n")
    example.say("| the day | |\n|---|---:|")
    example.say(f"| messages | {n} |")
    example.say(f"| reasoner calls | {calls}: {100 * calls / n:.1f} % escalated |")
    example.say(f"| harmless messages cleared by the screen | {cleared} of {len(harmless)}: "
                f"{100 * cleared / len(harmless):.1f} % |")
    example.say(f"| spam cleared by the screen | {missed} of {len(violating)}: {100 * missed / len(violating):.1f} % "
                "(promised: at most 5 %) |\n")
    if items:
        example.say("**4. Time.** With the demo's model (SmolLM2, 135M parameters) as the reasoner, its reasoning cut at 64 "
                    "tokens. It judges poorly: these are times of a small model, and no verdicts to use. The larger the "
                    "reasoner, the less the screen weighs.\n")
        measure_times(example, model, items, cascade, calls / n)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--safeguard", required=True)
    parser.add_argument("--data", required=True, help="folder of the labelled sets")
    parser.add_argument("--model", help="reasoner of the times (the demo's model, fetched if need be)")
    parser.add_argument("--items", type=int, default=20, help="contents that it is shown (%(default)s)")
    parser.add_argument("--write", action="store_true", help="put the text into docs/cascade.md")
    args = parser.parse_args()
    if not (pathlib.Path(args.data) / "sms_spam.jsonl.gz").exists():
        sys.exit(f"cascade_example: {args.data} has no sms_spam.jsonl.gz: the example needs the labelled data")
    model = args.model
    if args.items and not model:
        model = subprocess.run([ROOT / "tools/fetch_demo_model.sh"], capture_output=True, text=True, check=True)
        model = model.stdout.strip().splitlines()[-1]
    with tempfile.TemporaryDirectory() as folder:
        example = Example(str(pathlib.Path(args.safeguard).resolve()), pathlib.Path(folder))
        make(example, args.data, model, args.items)
    text = "\n".join(example.out).rstrip("\n") + "\n"
    if not args.write:
        print(text)
        return
    path = ROOT / "docs/cascade.md"
    page = path.read_text()
    begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    path.write_text(page[:begin] + "\n" + text + "\n" + page[end:])


if __name__ == "__main__":
    main()
