#!/usr/bin/env python3
"""Write the two small random gpt-oss models of tests/golden/data, with tokens and float64 logits.

    tiny-128e  128 experts (top 4), hidden 64, ffn 32, F16 dense, F32 embeddings: routing as wide as the 120b's
    tiny-odd   odd sizes everywhere, its own rope, eps and window, BF16 dense: catches sizes that are hard-coded

Embeddings are small, so that the eps of the first norm matters; the tokens are chosen so that no token is near to
another choice of experts (a float32 engine routes the same way).

Needs: numpy, gguf (PyPI), and oracle_gptoss.py beside it. Deterministic from its seeds.
Writes into --out: NAME.gguf, NAME.tokens.bin (int32 little-endian), NAME.logits.bin (float32 little-endian
[positions, vocabulary]) and NAME.json (shapes, positions, origin)."""

import argparse
import importlib.metadata
import json
import pathlib

import gguf
import numpy as np

import oracle_gptoss

COMMON = {"head_dim": 64, "min_gap": 0.02, "n_tokens": 200, "stride": 2}
MODELS = {
    "tiny-128e": COMMON | {
        "seed": 128, "layers": 2, "hidden": 64, "ffn": 32, "experts": 128, "top": 4, "vocab": 128, "q_heads": 2,
        "kv_heads": 1, "window": 128, "theta": 150000.0, "factor": 32.0, "original": 4096, "eps": 1e-5, "dense": "F16",
        "embedding": "F32"},
    "tiny-odd": COMMON | {
        "seed": 300, "layers": 3, "hidden": 96, "ffn": 160, "experts": 6, "top": 2, "vocab": 300, "q_heads": 6,
        "kv_heads": 3, "window": 32, "theta": 10007.0, "factor": 8.0, "original": 1024, "eps": 1e-6, "dense": "BF16",
        "embedding": "BF16", "beta_fast": 24.0, "beta_slow": 2.0, "stride": 4},
}


def write_model(path, c):
    rng = np.random.default_rng(c["seed"])
    writer = gguf.GGUFWriter(path, "gpt-oss")
    writer.add_name(f"{path.stem}, random weights")
    writer.add_block_count(c["layers"])
    writer.add_context_length(131072)
    writer.add_embedding_length(c["hidden"])
    writer.add_feed_forward_length(c["ffn"])
    writer.add_expert_feed_forward_length(c["ffn"])
    writer.add_expert_count(c["experts"])
    writer.add_expert_used_count(c["top"])
    writer.add_head_count(c["q_heads"])
    writer.add_head_count_kv(c["kv_heads"])
    writer.add_key_length(c["head_dim"])
    writer.add_value_length(c["head_dim"])
    writer.add_sliding_window(c["window"])
    writer.add_layer_norm_rms_eps(c["eps"])
    writer.add_rope_freq_base(c["theta"])
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(c["factor"])
    writer.add_rope_scaling_orig_ctx_len(c["original"])
    if "beta_fast" in c:
        writer.add_float32("gpt-oss.rope.scaling.yarn_beta_fast", c["beta_fast"])
        writer.add_float32("gpt-oss.rope.scaling.yarn_beta_slow", c["beta_slow"])
    writer.add_uint32("gpt-oss.vocab_size", c["vocab"])
    writer.add_tokenizer_model("none")

    def f32(name, *shape, mean=0.0, std=1.0):
        writer.add_tensor(name, (mean + std * rng.standard_normal(shape)).astype(np.float32))

    def matrix(name, rows, columns, std, dtype=c["dense"]):
        values = (std * rng.standard_normal((rows, columns))).astype(np.float32)
        kind = gguf.GGMLQuantizationType[dtype]
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    def mxfp4(name, rows, columns):
        """Random codes (a code has a standard deviation of about 2.9) under scales 2^-6 to 2^-3."""
        blocks = rng.integers(0, 256, (c["experts"], rows, columns // 32, 17), np.uint8)
        blocks[..., 0] = 127 + rng.integers(-6, -2, blocks.shape[:-1])
        blocks[rng.random(blocks.shape[:-1]) < 0.01, 0] = rng.integers(0, 3)
        writer.add_tensor(name, blocks.reshape(c["experts"], rows, -1), raw_dtype=gguf.GGMLQuantizationType.MXFP4)

    hidden, q_rows, kv_rows = c["hidden"], c["q_heads"] * c["head_dim"], c["kv_heads"] * c["head_dim"]
    matrix("token_embd.weight", c["vocab"], hidden, std=3e-3, dtype=c["embedding"])
    for layer in range(c["layers"]):
        at = f"blk.{layer}."
        f32(at + "attn_norm.weight", hidden, mean=1, std=0.2)
        for name, rows in (("q", q_rows), ("k", kv_rows), ("v", kv_rows)):
            matrix(f"{at}attn_{name}.weight", rows, hidden, std=1.2 * hidden**-0.5)
            f32(f"{at}attn_{name}.bias", rows, std=0.3)
        f32(at + "attn_sinks.weight", c["q_heads"], std=1.5)
        matrix(at + "attn_output.weight", hidden, q_rows, std=q_rows**-0.5)
        f32(at + "attn_output.bias", hidden, std=0.1)
        f32(at + "post_attention_norm.weight", hidden, mean=1, std=0.2)
        f32(at + "ffn_gate_inp.weight", c["experts"], hidden, std=2 * hidden**-0.5)
        f32(at + "ffn_gate_inp.bias", c["experts"], std=0.3)
        mxfp4(at + "ffn_gate_exps.weight", c["ffn"], hidden)
        f32(at + "ffn_gate_exps.bias", c["experts"], c["ffn"], std=1)
        mxfp4(at + "ffn_up_exps.weight", c["ffn"], hidden)
        f32(at + "ffn_up_exps.bias", c["experts"], c["ffn"], std=1)
        mxfp4(at + "ffn_down_exps.weight", hidden, c["ffn"])
        f32(at + "ffn_down_exps.bias", c["experts"], hidden, std=0.2)
    f32("output_norm.weight", hidden, mean=1, std=0.2)
    matrix("output.weight", c["vocab"], hidden, std=3 * hidden**-0.5, dtype=c["embedding"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def choose_tokens(model, c):
    """Random tokens; the first one that is too near to other experts is drawn again until none is."""
    rng = np.random.default_rng(c["seed"] + 1)
    tokens = rng.integers(0, c["vocab"], c["n_tokens"])
    for _ in range(3000):
        logits, gap = oracle_gptoss.forward(model, tokens)
        near = np.flatnonzero(gap < c["min_gap"])
        if near.size == 0:
            return tokens, logits, float(gap.min())
        tokens[near[0]] = rng.integers(0, c["vocab"])
    raise SystemExit("no tokens with clear routing found")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("names", nargs="*", default=list(MODELS), metavar="NAME")
    args = parser.parse_args()
    for name in args.names:
        c = MODELS[name]
        path = args.out / f"{name}.gguf"
        write_model(path, c)
        tokens, logits, gap = choose_tokens(oracle_gptoss.open_model(path), c)
        positions = list(range(c["stride"] - 1, c["n_tokens"], c["stride"]))
        tokens.astype("<i4").tofile(args.out / f"{name}.tokens.bin")
        logits[positions].astype("<f4").tofile(args.out / f"{name}.logits.bin")
        about = {"shape": c, "positions": positions, "logits": f"float32 LE [{len(positions)}, {c['vocab']}]",
                 "logits_std": round(float(logits.std()), 3), "smallest_router_gap": round(gap, 4),
                 "origin": {"script": f"tools/make_tiny_moe.py --out DIR {name}", "numpy": np.__version__,
                            "gguf": importlib.metadata.version("gguf"), "arithmetic": "float64 (tools/oracle_gptoss.py)"}}
        (args.out / f"{name}.json").write_text(json.dumps(about) + "\n")
        print(f"{name}: {path.stat().st_size} bytes, logits std {logits.std():.2f}, smallest router gap {gap:.4f}")


if __name__ == "__main__":
    main()
