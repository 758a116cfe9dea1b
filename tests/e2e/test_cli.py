"""Verbs, options, exit statuses, and what a person sees."""

import json
import os
import pty
import subprocess

import pytest

VERBS = [["check"], ["policy", "lint"], ["policy", "show"], ["policy", "new"], ["model", "info"], ["pull"],
         ["dev", "tokenize"], ["dev", "normalise"], ["dev", "attack"], ["dev", "render"], ["dev", "parse"],
         ["dev", "rewrite"], ["dev", "make-model"]]


@pytest.fixture
def check(run, double, policy, tmp_path):
    model = tmp_path / "stand-in.gguf"
    model.write_bytes(b"model")

    def call(*arguments, policies=(policy,), **extra):
        chosen = [a for p in policies for a in ("--policy", p)]
        return run(double, "check", *chosen, "--model", model, *arguments, **extra)

    return call


# --- exit statuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text, status", [("fine", 0), ("BAD", 10), ("UNSURE", 11), ("REVIEW", 12),
                                          ("BAD REVIEW", 10), ("UNSURE REVIEW", 12), ("FAIL", 1), ("FATAL", 1)])
def test_exit_status(check, text, status):
    assert check(text).returncode == status


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u200b", "\ufeff"])
def test_empty_content_is_not_safe(check, text):
    done = check("--json", "--", text)
    assert done.returncode == 1
    assert b"nothing to judge" in done.stderr and done.stdout == b""
    assert check(stdin=text.encode()).returncode == 1


@pytest.mark.parametrize("arguments, word", [
    (["--policy", "p", "--nope", "x"], b"--nope"), (["x"], b"--policy"), (["--policy"], b"needs a value"),
    (["--policy", "p", "--effort", "huge", "x"], b"low|medium|high"), (["--policy", "p", "--seed", "-1", "x"], b"--seed"),
    (["--policy", "p", "--threads", "2x", "x"], b"--threads"), (["--policy", "p", "--quiet=1", "x"], b"no value"),
    (["--policy", "p", "--temperature", "nan", "x"], b"--temperature"),
    (["--policy", "p", "--reasoning-budget", "99999999", "x"], b"--reasoning-budget"),
    (["--policy", "p", "--file", "f", "x"], b"twice"), (["--policy", "p", "--file", "f", "--batch", "b"], b"twice"),
    (["--policy", "p", "--resume", "x"], b"--batch"), (["--policy", "p", "--batch", "b", "--resume"], b"--out"),
    (["--policy", "p", "--judge", "first", "x"], b"--judge"), (["--policy", "p", "--judge", "-3", "x"], b"--judge"),
])
def test_wrong_use(run, double, arguments, word):
    done = run(double, "check", *arguments)
    assert done.returncode == 2
    assert word in done.stderr and b"--help" in done.stderr and done.stdout == b""


def test_no_verb_and_unknown_verb(run, double):
    assert run(double).returncode == 2
    done = run(double, "chekc")
    assert done.returncode == 2 and b"no such verb" in done.stderr


def test_policy_that_is_not_there(run, double):
    done = run(double, "check", "--policy", "/nowhere/p.md", "x")
    assert done.returncode == 1 and b"/nowhere/p.md" in done.stderr


# --- help -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_teaches(run, double, verb):
    done = run(double, *verb, "--help")
    text = done.stdout.decode()
    assert done.returncode == 0 and done.stderr == b""
    for part in ("Usage: safeguard " + " ".join(verb), "Examples:", "Exit status:"):
        assert part in text
    assert run(double, *verb, "-h").stdout == done.stdout
    assert max(map(len, text.splitlines())) <= 118


def test_help_of_the_program_lists_the_verbs(run, double):
    text = run(double, "--help").stdout.decode()
    for verb in {verb[0] for verb in VERBS}:
        assert f"\n  {verb}" in text
    assert run(double, "--version").stdout.startswith(b"safeguard 0.")


# --- content ----------------------------------------------------------------------------------------------------


def test_words_are_joined_and_files_and_stdin_are_read(check, tmp_path):
    path = tmp_path / "c.txt"
    path.write_bytes(b"from a file\n")
    for done, text in ((check("--json", "two", "words"), "two words"), (check("--json", "--file", path), "from a file\n"),
                       (check("--json", stdin=b"from stdin"), "from stdin"), (check("--json", "--", "--help"), "--help")):
        assert json.loads(done.stdout)["output"] == text


def test_conversation_only_when_asked_for(check, tmp_path):
    talk = json.dumps({"messages": [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]})
    done = check("--json", stdin=talk.encode())
    assert json.loads(done.stdout)["output"] == talk  # text stays text, whatever it looks like
    assert b"--conversation" in done.stderr
    path = tmp_path / "talk.json"
    path.write_text(talk)
    for arguments in (["--conversation"], ["--judge", "all"], ["--judge", "0"]):
        done = check("--json", *arguments, stdin=talk.encode())
        assert done.returncode == 0 and json.loads(done.stdout)["output"] != talk
    done = check("--json", "--file", path)
    assert json.loads(done.stdout)["output"] != talk
    assert check("--judge", "5", stdin=talk.encode()).returncode == 1


# --- output -----------------------------------------------------------------------------------------------------


def test_several_policies_worst_counts(check, policy, tmp_path):
    second = tmp_path / "second.md"
    second.write_text("Answer 1 for hate, else 0.")
    done = check("--json", "BAD", policies=(policy, second))
    assert done.returncode == 10
    assert [json.loads(line)["policy"]["id"] for line in done.stdout.splitlines()] == ["spam", "second"]
    done = check("--quiet", "UNSURE", policies=(policy, second))
    assert done.stdout == b"spam: undecided\nsecond: undecided\n" and done.returncode == 11


def test_quiet_is_the_verdict_alone(check):
    done = check("--quiet", "BAD REVIEW")
    assert done.stdout == b"violates, needs review\n" and done.stderr == b""


def test_json_is_one_object_with_its_options(check):
    done = check("--json", "--seed", "18446744073709551615", "--temperature", "0.5", "x")
    verdict = json.loads(done.stdout)
    assert done.stdout.count(b"\n") == 1 and verdict["schema"] == 1
    assert verdict["options"]["seed"] == 18446744073709551615 and verdict["options"]["temperature"] == 0.5


def test_text_output_without_terminal_has_no_escapes(check):
    done = check("ESCAPE")
    assert b"DOES NOT VIOLATE" in done.stdout
    assert b"\033" not in done.stdout and b"\033" not in done.stderr and b"\007" not in done.stdout


def on_terminal(command, env, **extra):
    primary, secondary = pty.openpty()
    running = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=secondary, stderr=secondary,
                               env={**env, "TERM": "xterm", **extra})
    os.close(secondary)
    seen = b""
    while True:
        try:
            piece = os.read(primary, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.close(primary)
    running.wait()
    return seen


def test_terminal_shows_dim_reasoning_and_a_verdict_that_stands_out(double, policy, env, tmp_path):
    model = tmp_path / "m.gguf"
    model.write_bytes(b"")
    command = [double, "check", "--policy", policy, "--model", model]
    seen = on_terminal([*command, "BAD"], env)
    assert b"reading policy and content: 50 of 100 tokens" in seen
    assert b"\033[2mBecause." in seen and b"\033[1;31mVIOLATES\033[0m" in seen
    assert seen.index(b"reading") < seen.index(b"Because.") < seen.index(b"VIOLATES")
    seen = on_terminal([*command, "BAD"], env, NO_COLOR="1")
    assert b"VIOLATES" in seen and b"\033[1;31m" not in seen and b"\033[2m" not in seen
    seen = on_terminal([*command, "BAD"], env, TERM="dumb")
    assert b"VIOLATES" in seen and b"\033" not in seen


def test_what_the_model_writes_never_acts_on_the_terminal(double, policy, env, tmp_path):
    model = tmp_path / "m.gguf"
    model.write_bytes(b"")
    for text in ("ESCAPE", "UNSURE \033]0;title\007 \x9b2J \u202e"):
        seen = on_terminal([double, "check", "--policy", policy, "--model", model, text], env)
        for evil in (b"\033[31m", b"\007", b"\xc2\x9b", b"\xe2\x80\xae", b"\033]"):
            assert evil not in seen
        assert b"<U+001B>" in seen


# --- finding the model -----------------------------------------------------------------------------------------


@pytest.fixture
def where(run, double, policy):
    """The path that is opened for a model name: the stand-in hashes it, so the hash tells."""

    def call(*arguments, **extra):
        done = run(double, "check", "--policy", policy, "--json", *arguments, "x", **extra)
        return json.loads(done.stdout)["model"]["sha256"] if done.returncode == 0 else done.stderr.decode()

    return call


def put(path, data):
    import hashlib
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def test_order_of_places(where, env, tmp_path):
    message = where()
    assert "safeguard pull smollm2-135m-instruct" in message and "make demo" in message
    default = put(tmp_path / "cache/models/smollm2-135m-instruct/x.gguf", b"default")
    assert where() == default
    in_settings = put(tmp_path / "settings.gguf", b"settings")
    settings = tmp_path / "home/.config/safeguard/config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"model: {tmp_path}/settings.gguf\nthreads: 2\nprecision: exact\n")
    assert where() == in_settings
    in_variable = put(tmp_path / "variable.gguf", b"variable")
    assert where(SAFEGUARD_MODEL=tmp_path / "variable.gguf") == in_variable
    given = put(tmp_path / "given.gguf", b"given")
    assert where("--model", tmp_path / "given.gguf", SAFEGUARD_MODEL=tmp_path / "variable.gguf") == given


def test_ollama(where, tmp_path):
    home = tmp_path / "home/.ollama/models"
    digest = put(home / "x", b"ollama's model")
    (home / "blobs").mkdir()
    (home / "x").rename(home / f"blobs/sha256-{digest}")
    manifest = {"schemaVersion": 2, "layers": [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "0" * 64},
        {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:" + digest, "size": 14}]}
    for path in ("registry.ollama.ai/library/gpt-oss-safeguard/20b", "registry.ollama.ai/library/small/latest",
                 "registry.ollama.ai/me/mine/v1", "hf.co/o/n/Q8"):
        put(home / "manifests" / path, json.dumps(manifest).encode())
    for name in ("gpt-oss-safeguard:20b", "small", "me/mine:v1", "hf.co/o/n:Q8"):
        assert where("--model", "ollama:" + name) == digest
    assert "ollama pull nothing" in where("--model", "ollama:nothing")
    for bad in ("", ":tag", "../x", "a//b", "a/../b:c", "a:../../x", "a/b/c/d"):
        assert "ollama:" in where("--model", "ollama:" + bad)
    elsewhere = tmp_path / "elsewhere"
    home.rename(elsewhere)
    assert where("--model", "ollama:small", OLLAMA_MODELS=elsewhere) == digest
    put(elsewhere / "manifests/registry.ollama.ai/library/small/latest", b'{"layers":[]}')
    assert "no layer" in where("--model", "ollama:small", OLLAMA_MODELS=elsewhere)
    manifest["layers"][1]["digest"] = "sha256:../../../etc/passwd"
    put(elsewhere / "manifests/registry.ollama.ai/library/small/latest", json.dumps(manifest).encode())
    assert "digest" in where("--model", "ollama:small", OLLAMA_MODELS=elsewhere)


def test_hugging_face_cache(where, tmp_path):
    hub = tmp_path / "hf/hub"
    snapshot = hub / "models--own--name/snapshots/abc123"
    digest = put(snapshot / "m-00001-of-00002.gguf", b"part one")
    put(snapshot / "m-00002-of-00002.gguf", b"part two")
    put(hub / "models--own--name/refs/main", b"abc123\n")
    assert where("--model", "hf:own/name", HF_HOME=tmp_path / "hf") == digest
    assert where("--model", "hf:own/name", HF_HUB_CACHE=hub) == digest
    other = put(snapshot / "other.gguf", b"other")
    assert "several models" in where("--model", "hf:own/name", HF_HUB_CACHE=hub)
    assert where("--model", "hf:own/name:other.gguf", HF_HUB_CACHE=hub) == other
    assert "safeguard pull hf:own/more" in where("--model", "hf:own/more", HF_HUB_CACHE=hub)
    assert "hf:OWNER/NAME" in where("--model", "hf:own/../x")


def test_hash_is_kept_and_follows_the_file(where, tmp_path):
    path = tmp_path / "m.gguf"
    first = put(path, b"one")
    assert where("--model", path) == first
    assert len(list((tmp_path / "cache/hashes").iterdir())) == 1
    assert where("--model", path) == first
    second = put(path, b"two")  # the same size
    assert where("--model", path) == second
    for entry in (tmp_path / "cache/hashes").iterdir():
        entry.write_bytes(b"\0" * 200)  # damaged entries are not believed
    assert where("--model", path) == second


# --- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text, words", [
    ("modle: x\n", ["line 1", "modle", "model"]), ("threads: many\n", ["line 1", "threads", "many"]),
    ("model: a\nprecision: precise\n", ["line 2", "precision", "fast|exact"]), ("- a\n", ["line 1"]),
    ("model: [a]\n", ["line 1"]), ("model: {a: b}\n", ["line 1"]), ("model: 'a\n", ["line"]), ("repack: maybe\n", ["repack"]),
    ("threads: -1\n", ["threads"]), ("precision: a\n", ["precision"]),
])
def test_bad_settings_are_named(run, double, policy, tmp_path, text, words):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    done = run(double, "check", "--policy", policy, "x", SAFEGUARD_CONFIG=path)
    assert done.returncode == 1
    for word in [str(path), *words]:
        assert word in done.stderr.decode()


def test_settings_file_that_is_named_must_exist(run, double, policy):
    done = run(double, "check", "--policy", policy, "x", SAFEGUARD_CONFIG="/nowhere/c.yaml")
    assert done.returncode == 1 and b"/nowhere/c.yaml" in done.stderr


def test_command_line_wins_over_settings(run, double, policy, tmp_path):
    model = tmp_path / "m.gguf"
    model.write_bytes(b"")
    config = tmp_path / "c.yaml"
    config.write_text(f"model: {model}\neffort: high\nprecision: exact\ncontext: 4096\n")
    done = run(double, "check", "--policy", policy, "--json", "--effort", "low", "x", SAFEGUARD_CONFIG=config)
    options = json.loads(done.stdout)["options"]
    assert (options["effort"], options["precision"], options["context"]) == ("low", "exact", 4096)


# --- policies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["binary", "category", "rationale", "labels", "flags"])
def test_new_policy_is_understood_as_what_it_says(run, double, tmp_path, kind):
    path = tmp_path / "n.md"
    assert run(double, "policy", "new", "my-policy", "--output", kind, "--out", path).returncode == 0
    done = run(double, "policy", "show", path)
    assert done.returncode == 0 and f"output        {kind}" in done.stdout.decode()
    assert run(double, "policy", "new", "my-policy", "--out", path).returncode == 1  # never over a file
    assert run(double, "policy", "new", "My Policy").returncode == 2


def test_lint(run, double, policy, tiny_model):
    done = run(double, "policy", "lint", policy, "--model", tiny_model)
    assert done.returncode == 0 and b"warning" in done.stdout and b"tokens" in done.stdout
    assert run(double, "policy", "lint", "--strict", policy, "--model", tiny_model).returncode == 1
    report = json.loads(run(double, "policy", "lint", "--json", policy, "--model", tiny_model).stdout)
    assert report["id"] == "spam" and report["tokens"] > 10 and report["findings"]
    done = run(double, "policy", "lint", policy)
    assert done.returncode == 0 and b"tokens are not counted" in done.stderr


# --- the real program on the tiny model --------------------------------------------------------------------------


def test_model_info(run, binary, tiny_model):
    info = json.loads(run(binary, "model", "info", "--json", "--hash", tiny_model).stdout)
    assert (info["architecture"], info["layers"], info["experts"], info["experts_used"]) == ("gpt-oss", 4, 8, 4)
    assert info["vocabulary"] == 512 and info["bytes"] == tiny_model.stat().st_size
    import hashlib
    assert info["files_sha256"] == hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    folder = json.loads(run(binary, "model", "info", "--json", tiny_model.parent / "hf").stdout)
    assert (folder["layers"], folder["hidden"], folder["parameters"]) == (4, 128, info["parameters"])
    assert run(binary, "model", "info", __file__).returncode == 1


def test_check_end_to_end(run, binary, policy, tiny_model):
    arguments = ["check", "--policy", policy, "--model", tiny_model, "--reasoning-budget", "32", "--json", "hello"]
    done = run(binary, *arguments)
    verdict = json.loads(done.stdout)
    assert done.returncode in (0, 10, 11)
    assert done.returncode == {True: 10, False: 0, None: 11}[verdict["violation"]]
    assert verdict["model"]["name"] and verdict["tokens"]["prompt"] > 0
    again = json.loads(run(binary, *arguments, "--threads", "1").stdout)
    for key in ("p_violation", "output", "reasoning", "label_mass"):
        assert again[key] == verdict[key]


def test_batch_end_to_end(run, binary, policy, tiny_model, tmp_path):
    rows = tmp_path / "r.csv"
    rows.write_text("id,text\n007,hello\n1e3,\n9,world\n")
    out = tmp_path / "o.jsonl"
    arguments = ["check", "--policy", policy, "--model", tiny_model, "--reasoning-budget", "32", "--batch", rows, "--out",
                 out]
    assert run(binary, *arguments).returncode == 3
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["007", "1e3", "9"] and "error" in lines[1]
    before = out.read_text()
    done = run(binary, *arguments, "--resume")
    assert done.returncode == 3 and b"2 answered before" in done.stderr and out.read_text() == before


def test_dev_tokenize_render_parse(run, binary, tiny_model):
    lines = b'{"text":"Hi <|end|>"}\n{"text":"Hi "}\n{"text":""}\n'
    done = run(binary, "dev", "tokenize", "--model", tiny_model, stdin=lines)
    whole, start, empty = [json.loads(line)["ids"] for line in done.stdout.splitlines()]
    assert max(whole) < 491 and empty == []  # special tokens are 491 to 511
    done = run(binary, "dev", "tokenize", "--model", tiny_model, "--special", stdin=lines)
    special = json.loads(done.stdout.splitlines()[0])["ids"]
    assert special[:-1] == start and special[-1] >= 491
    messages = [{"role": "user", "content": "Hi <|end|>"},
                {"role": "assistant", "channel": "analysis", "content": "hm"},
                {"role": "assistant", "channel": "final", "content": "1"}]
    ids = run(binary, "dev", "render", "--model", tiny_model, "--keep-analysis", stdin=json.dumps(messages).encode())
    back = run(binary, "dev", "parse", "--model", tiny_model, stdin=ids.stdout)
    assert json.loads(back.stdout) == messages
    done = run(binary, "dev", "tokenize", "--model", tiny_model, stdin=b'{"text":"a"}\nsecret\n')
    assert done.returncode == 1 and b"line 2" in done.stderr and b"secret" not in done.stderr


def test_dev_rewrite_and_make_model(run, binary, tiny_model, tmp_path):
    f32 = tmp_path / "f32.gguf"
    assert run(binary, "dev", "rewrite", "--model", tiny_model, "--to", "f32", f32).returncode == 0
    before = json.loads(run(binary, "model", "info", "--json", tiny_model).stdout)
    after = json.loads(run(binary, "model", "info", "--json", f32).stdout)
    assert after["bytes_by_type"] == {"F32": 4 * before["parameters"]}
    assert after["vocabulary"] == before["vocabulary"]
    made = tmp_path / "made.gguf"
    assert run(binary, "dev", "make-model", "--layers", "3", "--experts", "4", made).returncode == 0
    info = json.loads(run(binary, "model", "info", "--json", made).stdout)
    assert (info["layers"], info["experts"], info["hidden"]) == (3, 4, 128)
    hole = tmp_path / "hole.gguf"
    assert run(binary, "dev", "make-model", "--shape", "120b", "--sparse", hole).returncode == 0
    info = json.loads(run(binary, "model", "info", "--json", hole).stdout)
    assert (info["layers"], info["experts"]) == (36, 128) and 115e9 < info["parameters"] < 119e9
    assert os.stat(hole).st_blocks * 512 < 1e9
