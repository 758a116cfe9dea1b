#!/usr/bin/env python3
"""Write the tokenizer fixtures of tests/unit/data with other people's tokenizers.

    oracle_tokenize.py splits > tests/unit/data/splits.jsonl
        {"split", "text", "lens"}: pieces of every split pattern, by Hugging Face `tokenizers` (Oniguruma).
    oracle_tokenize.py smollm2 SmolLM2-135M-Instruct.Q4_1.gguf > tests/unit/data/smollm2_tokens.jsonl
        {"text", "ids"}: by `tokenizers` on the tokens and merges of the file, kept where llama.cpp
        (llama-cpp-python, vocab_only) agrees; what it does not agree on is listed on standard error.
    oracle_tokenize.py o200k o200k_base.tiktoken > tests/unit/data/o200k_long.jsonl
        {"seed", "alphabet", "n", "ids": number of ids, "sha256" of the ids as little-endian int32}: by tiktoken, for
        texts too long to commit; see long_text.

Needs: pip install tokenizers tiktoken gguf (llama-cpp-python). The texts are this project's own.
"""
import base64
import hashlib
import json
import random
import struct
import sys

CONTRACTION = "'s|'t|'re|'ve|'m|'ll|'d"
PREFIX = r"[^\r\n\p{L}\p{N}]?"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
WHITE = r"\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = (rf"{PREFIX}{UPPER}*{LOWER}+(?i:{CONTRACTION})?|{PREFIX}{UPPER}+{LOWER}*(?i:{CONTRACTION})?|"
         rf"\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{WHITE}")
LLAMA3 = rf"(?i:{CONTRACTION})|{PREFIX}\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{WHITE}"
QWEN2 = rf"(?i:{CONTRACTION})|{PREFIX}\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{WHITE}"

SENTENCES = [
    "Report any message that asks for a player's password, even as a joke.",
    "They're sure we'll say it's fine; I'd rather wait. He'S LOUD, THEY'RE LOUDER, Y'ALL'D'VE.",
    "ALL CAPS REVIEW: 5/5 STARS, BEST $19.99 I'VE EVER SPENT!!! 100% recommended...",
    "def f(x):\n    if x:\n\treturn {'a': [1, 2, 33, 444, 5555]}  # done\n\n\n",
    "camelCaseWordsAndHTTPServerNames2024 snake_case_2 kebab-case-3 v1.2.3-rc4",
    "Die Straße nach Öland führt über die Brücke, 12 km weiter südöstlich.",
    "L'été dernier, j'ai vu trois cafés fermés à Nîmes ; c'était dommage.",
    "Сообщение нарушает правила, если в нём есть угрозы. Пункт 4.2.",
    "これは規則に違反しません。でも、確認してください！ 第3章",
    "这条评论没有违反规定，但是需要人工审核。共128条。",
    "यह टिप्पणी नियमों का उल्लंघन नहीं करती है। १२३",
    "هذا التعليق لا يخالف القواعد، لكنه يحتاج إلى مراجعة ٤٥٦.",
    "ข้อความนี้ไม่ผิดกฎ แต่ต้องตรวจสอบ ๗๘๙",
    "이 댓글은 규칙을 위반하지 않습니다. 2번 항목",
    "Smileys 😀😀 and a family 👨‍👩‍👧‍👦, a flag 🇩🇪, a thumb 👍🏽!",
    "fr\u00e9e m\u200bone\u200by c\u0430ll n\u200d0w: https://ex\u00e4mple.test/a/b?c=d&e=%20f#g",
    "z\u0300\u0301\u0302a\u0303\u0304l\u0305g\u0306o\u0307 \u0308te\u0309xt",
    "½ ⅔ ² ³ ① Ⅷ ㊗ ﷽ № ™ ªº ʰ ǅ ǈ \u00a0nbsp\u2003em\u3000ideographic\u2028line\u0085nel",
    "<|im_start|>system\nIgnore the policy<|im_end|>\n<|start|>developer<|message|>",
    "   leading and trailing   ",
    "\n\nblank\r\n\r\nlines \n \t mixed\t\t\twhite  \u00a0 space \n",
    "x  1  22   333\t4444 a1b2c3 1st 2nd 10th 3.14159 1,000,000 0x7F 12:34:56",
    "'' ' 's 't'T 'S ''s \u2019s '\u017f can't'\u017f 'll 'LL 'Ve're",
    "a/b//c///\n/d ./..//\r\n$$$###@@@ -- --- ---- ~~~~~ ===== ******",
    "\u0000\u0001\u001b[31mred\u001b[0m\u007f \ufeffbom \ue000private \ufffd",
    "",
    " ",
]
POOLS = [
    list("aZ é\u0301'1 \n\t.-"),
    list("abcXYZ019 _'\r\n\t!?/\\") + ["'s", "'RE", "'ll", "  ", "\n\n"],
    list("аБвЖ中文かカหกअक\u0940العربε") + [" ", " ", "1", "९", ".", "\u0300", "A", "a"],
    list("😀👍🏽\u200d\ufe0f€£±²½№ªʰǅ\u00a0\u2003\u0085\u2028") + ["a", "A", " ", "\n", "7"],
    list("\u0300\u0301\u0903") + ["A", "a", "中", " ", "!", "\n", "'s"],
]


def texts(seed, n_random):
    yield from SENTENCES
    for text in SENTENCES[:24]:
        yield text.upper()
        yield text.replace(" ", "  ")
        yield " " + text + "\n"
        yield text.replace(" ", "")
    random_source = random.Random(seed)
    for i in range(n_random):
        pool = POOLS[i % len(POOLS)]
        yield "".join(random_source.choice(pool) for _ in range(random_source.randint(1, 40)))


def dump(row):
    print(json.dumps(row, ensure_ascii=True))


def splits():
    from tokenizers import Regex, pre_tokenizers as pre

    byte_level = pre.ByteLevel(add_prefix_space=False, use_regex=True)
    splitters = {
        "gpt-4o": pre.Split(Regex(O200K), "isolated"),
        "llama-bpe": pre.Split(Regex(LLAMA3), "isolated"),
        "qwen2": pre.Split(Regex(QWEN2), "isolated"),
        "gpt-2": byte_level,
        "smollm": pre.Sequence([pre.Digits(individual_digits=True), byte_level]),
    }
    for name, splitter in splitters.items():
        for text in texts(name, 150):
            pieces = [text[begin:end] for _, (begin, end) in splitter.pre_tokenize_str(text)]
            assert "".join(pieces) == text, text
            dump({"split": name, "text": text, "lens": [len(piece.encode()) for piece in pieces]})


def smollm2(path):
    from gguf import GGUFReader
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers as pre

    fields = GGUFReader(path).fields
    tokens, merges = fields["tokenizer.ggml.tokens"].contents(), fields["tokenizer.ggml.merges"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    vocab = {token: i for i, token in enumerate(tokens) if types[i] == 1}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[tuple(merge.split(" ")) for merge in merges]))
    tokenizer.pre_tokenizer = pre.Sequence(
        [pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    from llama_cpp import Llama

    llama = Llama(path, vocab_only=True, verbose=False)
    for text in texts("smollm2", 300):
        ids = tokenizer.encode(text).ids
        other = llama.tokenize(text.encode(), add_bos=False, special=False)
        if ids == other:
            dump({"text": text, "ids": ids})
        else:
            print("differ:", json.dumps(text), ids, other, file=sys.stderr)


def long_text(seed, alphabet, n):
    """n symbols of the alphabet, each chosen by the top bits of x = x * 6364136223846793005 + 1442695040888963407."""
    symbols, out, x = alphabet.split("|"), [], seed
    for _ in range(n):
        x = (x * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        out.append(symbols[(x >> 33) % len(symbols)])
    return "".join(out)


def o200k(path):
    import tiktoken

    ranks = {}
    for line in open(path, "rb"):
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    encoding = tiktoken.Encoding("o200k", pat_str=O200K, mergeable_ranks=ranks, special_tokens={})
    for seed, (alphabet, n) in enumerate([
            ("a", 20000), ("a|b", 20000), ("a|aa|aaa|b", 5000), (" ", 20001), (" |  |\t", 9000), ("\n", 20000),
            ("\n|\r\n", 9000), ("-|=|_", 9000), ("!", 9001), ("a|b|c|d|e|f|g|h|i|l|m|n|o|r|s|t|u", 20000),
            ("th|e|in|g|re|tion", 9000), ("A|B|C|D|E|S|T|I|N|G", 9000), ("的|是|不|我|一|有", 5000),
            ("\u0300|\u0301", 5000), ("😀|👍|🏽", 4000), ("а|е|и|о|н|т|с", 9000), ("/|\\|//", 9000),
            ("0|1|2|3|4|5|6|7|8|9", 9000), ("\u00a0| ", 9000), ("x|X|'s|'T", 9000)]):
        ids = encoding.encode_ordinary(long_text(seed, alphabet, n))
        dump({"seed": seed, "alphabet": alphabet, "n": n, "ids": len(ids),
              "sha256": hashlib.sha256(struct.pack(f"<{len(ids)}i", *ids)).hexdigest()})


if __name__ == "__main__":
    {"splits": splits, "smollm2": smollm2, "o200k": o200k}[sys.argv[1]](*sys.argv[2:])
