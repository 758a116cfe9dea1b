#!/usr/bin/env python3
"""Write data/prior_heads.bin: what openly licensed sets teach about kinds of harm, as weights of n-gram buckets.

    tools/make_prior_heads.py SAFEGUARD FOLDER_OF_DATA data/prior_heads.bin

One category ("head") for each set or kind, learnt by `screen train`; of the buckets those with the largest weights are
kept. A screen's training sees each head's value of a text as one more number and folds what it learns from them into its
own weights. A screen may not be trained on or certified with rows of these sets: the head has seen them. Made anew
whenever the hashes of n-grams change. Sets and licences: data/README.md."""
import gzip
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

UNSAFE = ["simple_safety_tests", "ailuminate_en", "harmbench", "advbench", "strongreject", "catqa",
          "forbidden_questions", "jailbreakbench", "xstest"]
KEEP = 110_000


def rows(folder, name):
    with gzip.open(folder / f"{name}.jsonl.gz", "rt") as file:
        yield from map(json.loads, file)


def take(out, folder, name, category, head, most=None):
    for n, row in enumerate(rows(folder, name)):
        if most and n >= most:
            break
        value = row["labels"].get(category)
        if value is not None:
            out.append((row["text"], head, value))


def examples(folder):
    out = []
    take(out, folder, "davidson", "toxic", "davidson_toxic")
    take(out, folder, "davidson", "hate", "davidson_hate")
    take(out, folder, "hatemoji_build", "hate", "hatemoji")
    take(out, folder, "hatecheck", "hate", "hatecheck")
    take(out, folder, "surge_toxicity", "toxic", "surge_toxic")
    take(out, folder, "youtube_spam", "spam", "youtube_spam")
    for name in UNSAFE:
        take(out, folder, name, "unsafe_request", "unsafe_request")
    take(out, folder, "inthewild_jailbreaks", "jailbreak", "jailbreak")
    take(out, folder, "deepset_prompt_injections", "prompt_injection", "jailbreak")
    harmless = [r["text"] for r in rows(folder, "deepset_prompt_injections")
                if r["labels"].get("prompt_injection") == 0]
    harmless += [r["text"] for r in rows(folder, "youtube_spam") if r["labels"]["spam"] == 0]
    harmless += [r["text"] for r in rows(folder, "surge_toxicity") if r["labels"]["toxic"] == 0]
    harmless += [r["text"] for r in rows(folder, "davidson") if r["labels"]["toxic"] == 0][:1500]
    harmless += [r["text"] for r in rows(folder, "fake_reviews_gpt2")][:800]
    for head in ("unsafe_request", "jailbreak"):
        out += [(text, head, 0) for text in harmless]
    return out


def read_screen(data):
    bits, n, learnt = struct.unpack_from("<III", data, 12)
    n_words = struct.unpack_from("<I", data, 184)[0]
    buckets = 1 << bits
    heads = []
    at = 256 + 168 * n + buckets + buckets // 8 + (1 << learnt) // 8 + n_words
    for i in range(n):
        name = data[256 + 168 * i:256 + 168 * i + 64].rstrip(b"\0").decode()
        scale = struct.unpack_from("<d", data, 256 + 168 * i + 72)[0]
        weights = memoryview(data)[at + i * buckets:at + (i + 1) * buckets].cast("b")
        heads.append((name, scale, weights))
    return bits, heads


def main():
    program, folder, out = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    texts = {}
    for text, head, value in examples(folder):
        texts.setdefault(text, {})[head] = value
    names = sorted({head for labels in texts.values() for head in labels})
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        (tmp / "policy.md").write_text("# Heads\n\nAnswer with exactly one character: 1 for harm, 0 for anything else.\n")
        with open(tmp / "rows.jsonl", "w") as file:
            for i, (text, labels) in enumerate(texts.items()):
                file.write(json.dumps({"id": str(i), "text": text, "labels": labels}) + "\n")
        command = [program, "screen", "train", "--policy", tmp / "policy.md", "--labels", tmp / "rows.jsonl", "--out",
                   tmp / "heads.screen", "--c", "3", "--vector-scale", "0.001", "--no-prior", "--threads", "1"]
        for name in names:
            command += ["--category", name]
        subprocess.run(command, check=True)
        bits, heads = read_screen((tmp / "heads.screen").read_bytes())
    size = [sum((w[b] / 127) ** 2 for _, _, w in heads) for b in range(1 << bits)]
    kept = sorted(sorted(range(1 << bits), key=lambda b: -size[b])[:KEEP])
    kept = [b for b in kept if size[b]]
    with open(out, "wb") as file:
        file.write(b"SGHEADS1" + struct.pack("<IIII", bits, len(heads), len(kept), 0))
        file.write(b"prior-1".ljust(16, b"\0"))
        for _, scale, _ in heads:
            file.write(struct.pack("<f", scale))
        for b in kept:
            file.write(struct.pack("<I", b))
        for b in kept:
            file.write(struct.pack(f"{len(heads)}b", *(w[b] for _, _, w in heads)))
    print(f"{out}: {len(heads)} heads ({', '.join(n for n, _, _ in heads)}), {len(kept)} buckets, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
