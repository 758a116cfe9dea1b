#!/usr/bin/env python3
"""gpt-oss in float64 numpy: a second implementation to test the engine against, not to be fast.

Written from the published description of the model (openai/gpt-oss, model.py and the model card), not from the
engine's sources. All arithmetic is float64 on the exactly dequantised weights; results are rounded to float32 once,
on writing.

Needs: numpy, gguf (PyPI; reads and dequantises GGUF files).
    logits MODEL --tokens T.bin --out L.bin   T: int32 little-endian ids; L: float32 [positions, vocabulary]
    logits MODEL --tokens T.bin --compare L.bin   prints the largest difference to existing logits
    units --out units.json                    expected values of single steps that logits hardly show
MODEL is a Hugging Face folder (config.json, *.safetensors) or a GGUF file of architecture gpt-oss."""

import argparse
import json
import math
import pathlib
import struct

import numpy as np

FP4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


# --- files -------------------------------------------------------------------------------------------------------


class Safetensors:
    """Named tensors of a Hugging Face folder as float64, in the names that the forward pass below uses."""

    LAYER = {
        "attn_norm.weight": "input_layernorm.weight", "post_attention_norm.weight": "post_attention_layernorm.weight",
        "attn_sinks.weight": "self_attn.sinks",
        "attn_output.weight": "self_attn.o_proj.weight", "attn_output.bias": "self_attn.o_proj.bias",
        "ffn_gate_inp.weight": "mlp.router.weight", "ffn_gate_inp.bias": "mlp.router.bias",
        "gate_up.bias": "mlp.experts.gate_up_proj_bias", "ffn_down_exps.bias": "mlp.experts.down_proj_bias",
    } | {f"attn_{x}.{kind}": f"self_attn.{x}_proj.{kind}" for x in "qkv" for kind in ("weight", "bias")}
    WHOLE = {"token_embd.weight": "model.embed_tokens.weight", "output.weight": "lm_head.weight",
             "output_norm.weight": "model.norm.weight"}

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        config = json.loads((folder / "config.json").read_text())
        rope = config["rope_scaling"]
        self.shape = {
            "layers": config["num_hidden_layers"], "hidden": config["hidden_size"], "head_dim": config["head_dim"],
            "q_heads": config["num_attention_heads"], "kv_heads": config["num_key_value_heads"],
            "experts": config["num_local_experts"], "top": config["num_experts_per_tok"],
            "window": config["sliding_window"], "eps": config["rms_norm_eps"], "theta": config["rope_theta"],
            "factor": rope["factor"], "original": rope["original_max_position_embeddings"],
            "beta_fast": rope.get("beta_fast", 32.0), "beta_slow": rope.get("beta_slow", 1.0),
        }
        index = folder / "model.safetensors.index.json"
        names = (sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists()
                 else ["model.safetensors"])
        self.at = {}
        for path in (folder / name for name in names):
            with open(path, "rb") as file:
                size, = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(size))
            data = np.memmap(path, np.uint8, "r", offset=8 + size)
            for name, entry in header.items():
                if name != "__metadata__":
                    begin, end = entry["data_offsets"]
                    self.at[name] = (entry["dtype"], entry["shape"], data[begin:end])

    def raw(self, name):
        dtype, shape, data = self.at[name]
        if dtype == "BF16":
            wide = np.frombuffer(data.tobytes(), "<u2").astype(np.uint32) << 16
            return wide.view(np.float32).astype(np.float64).reshape(shape)
        numpy_type = {"F32": "<f4", "F16": "<f2", "U8": "u1"}[dtype]
        values = np.frombuffer(data.tobytes(), numpy_type).reshape(shape)
        return values if dtype == "U8" else values.astype(np.float64)

    def get(self, name):
        if name in self.WHOLE:
            return self.raw(self.WHOLE[name])
        _, layer, rest = name.split(".", 2)
        return self.raw(f"model.layers.{layer}.{self.LAYER[rest]}")

    def mxfp4(self, name):
        """[experts, rows, columns]; byte i of a block holds element 2i in its low nibble, 2i + 1 in its high one."""
        blocks, scales = self.raw(name + "_blocks"), self.raw(name + "_scales")
        assert (scales != 255).all(), name
        codes = np.stack([blocks & 15, blocks >> 4], -1).reshape(*scales.shape, 32)
        values = FP4[codes] * np.ldexp(1.0, scales.astype(int) - 127)[..., None]
        return values.reshape(*scales.shape[:-1], -1)

    def experts(self, layer):
        """(w1 [experts, 2 ffn, hidden] with gate and up rows interleaved, b1, w2 [experts, hidden, ffn], b2)"""
        at = f"model.layers.{layer}.mlp.experts."
        return (self.mxfp4(at + "gate_up_proj"), self.raw(at + "gate_up_proj_bias"),
                self.mxfp4(at + "down_proj"), self.raw(at + "down_proj_bias"))


class Gguf:
    def __init__(self, path):
        import gguf

        reader = gguf.GGUFReader(path)
        self.dequantise = gguf.quants.dequantize
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}

        def meta(key, default=None):
            field = reader.fields.get("gpt-oss." + key)
            if field is None and default is None:
                raise KeyError(f"{path}: no gpt-oss.{key}")
            return default if field is None else field.contents()

        self.shape = {
            "layers": meta("block_count"), "hidden": meta("embedding_length"), "head_dim": meta("attention.key_length"),
            "q_heads": meta("attention.head_count"), "kv_heads": meta("attention.head_count_kv"),
            "experts": meta("expert_count"), "top": meta("expert_used_count"),
            "window": meta("attention.sliding_window"), "eps": meta("attention.layer_norm_rms_epsilon"),
            "theta": meta("rope.freq_base"), "factor": meta("rope.scaling.factor"),
            "original": meta("rope.scaling.original_context_length"),
            "beta_fast": meta("rope.scaling.yarn_beta_fast", 32.0), "beta_slow": meta("rope.scaling.yarn_beta_slow", 1.0),
        }

    def get(self, name):
        tensor = self.tensors[name]
        shape = [int(n) for n in reversed(tensor.shape)]
        return self.dequantise(tensor.data, tensor.tensor_type).astype(np.float64).reshape(shape)

    def experts(self, layer):
        def interleave(kind):
            gate, up = (self.get(f"blk.{layer}.ffn_{x}_exps.{kind}") for x in ("gate", "up"))
            return np.stack([gate, up], 2).reshape(gate.shape[0], -1, *gate.shape[2:])

        at = f"blk.{layer}.ffn_down_exps."
        return interleave("weight"), interleave("bias"), self.get(at + "weight"), self.get(at + "bias")


def open_model(path):
    return Safetensors(path) if pathlib.Path(path).is_dir() else Gguf(path)


# --- the model ---------------------------------------------------------------------------------------------------


def rmsnorm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def swiglu(h):
    """[.., 2 ffn] interleaved → [.., ffn]. The gate is clamped from above only."""
    glu, linear = np.minimum(h[..., 0::2], 7), np.clip(h[..., 1::2], -7, 7)
    with np.errstate(over="ignore"):
        return glu / (1 + np.exp(-1.702 * glu)) * (linear + 1)


def yarn(shape):
    """(inverse frequencies [head_dim / 2], concentration)"""
    half, theta, factor = shape["head_dim"] // 2, shape["theta"], shape["factor"]
    freq = theta ** (np.arange(half) / half)

    def turn(beta):
        return half * math.log(shape["original"] / (beta * 2 * math.pi)) / math.log(theta)

    low, high = turn(shape["beta_fast"]), turn(shape["beta_slow"])
    mask = 1 - np.clip((np.arange(half) - low) / (high - low), 0, 1)
    return (1 - mask) / (factor * freq) + mask / freq, 0.1 * math.log(factor) + 1


def rotate(x, inverse, concentration):
    """x [positions, heads, head_dim]; dimension i turns with i + head_dim / 2."""
    angle = np.arange(len(x))[:, None, None] * inverse
    cos, sin = np.cos(angle) * concentration, np.sin(angle) * concentration
    a, b = np.split(x, 2, -1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def attention(q, k, v, sinks, window):
    """q [n, q_heads, dim], k and v [n, kv_heads, dim] → [n, q_heads * dim]. window 0: all earlier positions."""
    n, heads, dim = q.shape
    out = np.empty_like(q)
    chunk = 512
    for head in range(heads):
        kv = head // (heads // k.shape[1])
        for first in range(0, n, chunk):
            rows = np.arange(first, min(first + chunk, n))
            begin = max(0, first - window + 1) if window else 0
            columns = np.arange(begin, rows[-1] + 1)
            score = q[rows, head] @ k[columns, kv].T / math.sqrt(dim)
            distance = rows[:, None] - columns
            score[(distance < 0) | ((distance >= window) if window else False)] = -np.inf
            top = np.maximum(score.max(-1, keepdims=True), sinks[head])
            weight = np.exp(score - top)
            weight /= weight.sum(-1, keepdims=True) + np.exp(sinks[head] - top)
            out[rows, head] = weight @ v[columns, kv]
    return out.reshape(n, -1)


def route(logits, top):
    """[n, experts] → (chosen [n, top], weights [n, top], smallest gap between the last chosen and the next)"""
    order = np.argsort(-logits, -1, kind="stable")
    chosen = order[:, :top]
    score = np.take_along_axis(logits, chosen, -1)
    weight = np.exp(score - score.max(-1, keepdims=True))
    gap = score[:, -1] - np.take_along_axis(logits, order[:, top:top + 1], -1)[:, 0]
    return chosen, weight / weight.sum(-1, keepdims=True), gap


def forward(model, tokens, positions=None):
    """(logits [positions, vocabulary], gap [n]: how near each token came to another choice of experts)"""
    shape = model.shape
    n, dim = len(tokens), shape["head_dim"]
    inverse, concentration = yarn(shape)
    x = model.get("token_embd.weight")[tokens]
    nearest = np.full(n, np.inf)
    for layer in range(shape["layers"]):
        def get(name):
            return model.get(f"blk.{layer}.{name}")

        def project(name, t):
            return t @ get(name + ".weight").T + get(name + ".bias")

        t = rmsnorm(x, get("attn_norm.weight"), shape["eps"])
        q = rotate(project("attn_q", t).reshape(n, -1, dim), inverse, concentration)
        k = rotate(project("attn_k", t).reshape(n, -1, dim), inverse, concentration)
        v = project("attn_v", t).reshape(n, -1, dim)
        assert q.shape[1:] == (shape["q_heads"], dim) and k.shape[1:] == v.shape[1:] == (shape["kv_heads"], dim)
        window = shape["window"] if layer % 2 == 0 else 0
        x = x + project("attn_output", attention(q, k, v, get("attn_sinks.weight"), window))

        t = rmsnorm(x, get("post_attention_norm.weight"), shape["eps"])
        chosen, weight, gap = route(project("ffn_gate_inp", t), shape["top"])
        nearest = np.minimum(nearest, gap)
        w1, b1, w2, b2 = model.experts(layer)
        for expert in range(shape["experts"]):
            rows, slot = np.nonzero(chosen == expert)
            y = swiglu(t[rows] @ w1[expert].T + b1[expert]) @ w2[expert].T + b2[expert]
            np.add.at(x, rows, weight[rows, slot, None] * y)
    if positions is not None:
        x = x[positions]
    return rmsnorm(x, model.get("output_norm.weight"), shape["eps"]) @ model.get("output.weight").T, nearest


# --- single steps ------------------------------------------------------------------------------------------------


def units():
    """Inputs are exact float32 values; expected values are float64."""
    def f32(values):
        return np.asarray(values, np.float32).astype(np.float64)

    rng = np.random.default_rng(20251125)
    glu = f32([-120, -60, -30, -20, -12, -9, -8, -7.5, -7, -6.5, -3, -1, -0.25, 0, 0.25, 1, 3, 6.5, 7, 7.5, 30, 1e4])
    linear = f32([-1e4, -30, -7.5, -7, -3, -1, -0.5, 0, 0.5, 1, 3, 6.5, 7, 7.5, 30, 1e4])
    pairs = np.array([(g, u) for g in glu for u in linear])

    norms = []
    for name, n, scale in (("ordinary", 96, 1.0), ("small", 64, 3e-3), ("tiny", 33, 1e-5), ("zero", 32, 0.0),
                           ("large", 64, 1e4)):
        x, weight = f32(rng.standard_normal(n) * scale), f32(1 + 0.2 * rng.standard_normal(n))
        norms.append({"name": name, "x": x.tolist(), "weight": weight.tolist()} |
                     {f"out_eps_{eps}": rmsnorm(x, weight, float(eps)).tolist() for eps in ("1e-5", "1e-6")})

    rope = []
    for name, shape in (("gpt-oss", (150000, 32, 4096, 32, 1)), ("odd", (10007, 8, 1024, 24, 2))):
        shape = dict(zip(("theta", "factor", "original", "beta_fast", "beta_slow"), shape)) | {"head_dim": 64}
        inverse, concentration = yarn(shape)
        positions = [0, 1, 127, 4096, 131071]
        angle = np.outer(positions, inverse)
        rope.append({"name": name} | shape | {
            "inverse_frequency": inverse.tolist(), "concentration": concentration, "positions": positions,
            "cos": (np.cos(angle) * concentration).tolist(), "sin": (np.sin(angle) * concentration).tolist()})

    logits = f32(rng.standard_normal((3, 128)) * 2)
    chosen, weight, _ = route(logits, 4)
    n, window = 40, 32
    q, k, v = (np.round(rng.standard_normal((n, heads, 64)) * 64) / 64 for heads in (2, 1, 1))
    sinks = f32([3.5, -40.0])
    scales = [0, 1, 2, 100, 126, 127, 128, 200, 251]
    return {
        "swiglu": {"about": "glu above 7 is clamped, glu below -7 is not; lin is clamped to [-7, 7]",
                   "h": pairs.ravel().tolist(), "out": swiglu(pairs.reshape(1, -1))[0].tolist()},
        "rmsnorm": norms,
        "yarn": rope,
        "router": {"top": 4, "logits": logits.tolist(), "experts": chosen.tolist(), "weights": weight.tolist()},
        "attention": {"about": "one kv head, two q heads, last position only; a dominant and a negligible sink; RoPE done",
                      "window": window, "sinks": sinks.tolist(), "q": q[-1].tolist(), "k": k[:, 0].tolist(),
                      "v": v[:, 0].tolist(), "out_window": attention(q, k, v, sinks, window)[-1].tolist(),
                      "out_full": attention(q, k, v, sinks, 0)[-1].tolist()},
        "mxfp4": [{"scale": scale, "values": (FP4 * math.ldexp(1.0, scale - 127)).tolist()} for scale in scales],
    }


# --- command line ------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("logits")
    verb.add_argument("model")
    verb.add_argument("--tokens", required=True)
    verb.add_argument("--positions", help="comma-separated, or @golden.json:key; all by default")
    verb.add_argument("--out")
    verb.add_argument("--compare")
    verb = verbs.add_parser("units")
    verb.add_argument("--out", required=True)
    args = parser.parse_args()

    if args.verb == "units":
        pathlib.Path(args.out).write_text(json.dumps(units() | {"origin": {
            "script": "tools/oracle_gptoss.py units", "numpy": np.__version__, "seed": 20251125,
            "arithmetic": "float64; every input is an exact float32 value"}}) + "\n")
        return
    positions = None
    if args.positions and args.positions.startswith("@"):
        path, key = args.positions[1:].rsplit(":", 1)
        positions = json.loads(pathlib.Path(path).read_text())[key]
    elif args.positions:
        positions = [int(p) for p in args.positions.split(",")]
    logits, gap = forward(open_model(args.model), np.fromfile(args.tokens, "<i4"), positions)
    print(f"{logits.shape[0]} x {logits.shape[1]} logits, std {logits.std():.3f}, smallest router gap {gap.min():.4g}")
    if args.out:
        logits.astype("<f4").tofile(args.out)
    if args.compare:
        expected = np.fromfile(args.compare, "<f4").reshape(logits.shape)
        error = np.abs(logits - expected)
        rounding = np.abs(expected) * 2.0 ** -24 + 1e-45
        print(f"largest difference {error.max():.3g}; beyond float32's rounding {np.max(error - rounding):.3g}; "
              f"equal after rounding: {np.mean(logits.astype(np.float32) == expected):.4%}")


if __name__ == "__main__":
    main()
