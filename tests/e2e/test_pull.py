"""safeguard pull against a local server that misbehaves in every way a real one does."""

import hashlib
import http.server
import json
import os
import threading
import time

import pytest

BODY = bytes(range(256)) * 4096 + b"end"  # 1 MiB and a bit
HALF = len(BODY) // 2


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub:
    """Files by path, and what goes wrong. `requests` holds (path, headers) of every request for a file."""

    def __init__(self):
        self.files = {"m.gguf": BODY}
        self.lfs = lambda path: path.endswith((".gguf", ".safetensors"))
        self.etag = '"v1"'
        self.requests = []
        self.break_at = []  # for each coming file request: close the connection after so many bytes, None: do not
        self.statuses = []  # for each coming request of any kind: answer this status, None: do not
        self.ignore_range = False
        self.serve = None  # function path → bytes served in place of files[path]
        self.listing = None  # replaces the JSON of the tree
        self.pages = False
        self.check_if_range = True
        self.redirect = None
        self.stall = []

    def tree(self):
        entries = [{"type": "directory", "path": "original", "oid": "0" * 40, "size": 0}]
        for path, data in self.files.items():
            entry = {"type": "file", "path": path, "oid": git_sha1(data), "size": len(data)}
            if self.lfs(path):
                entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
            entries.append(entry)
        return entries


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        hub = self.server.hub
        status = hub.statuses.pop(0) if hub.statuses else None
        path, _, query = self.path.partition("?")
        if status:
            return self.answer(status, b"error page " * 10)
        if path == "/api/models/own/name/tree/main":
            return self.tree(query)
        if path.startswith("/own/name/resolve/main/"):
            return self.file(path.removeprefix("/own/name/resolve/main/"))
        if path.startswith("/cdn/"):
            return self.file(path.removeprefix("/cdn/"), direct=True)
        return self.answer(404, b"not here")

    def tree(self, query):
        hub = self.server.hub
        entries = hub.tree()
        headers = []
        if hub.pages:
            page = 1 if "cursor=1" in query else 0
            if page == 0:
                headers = [("Link", f'<{self.server.url}/api/models/own/name/tree/main?cursor=1>; rel="next"')]
            entries = entries[:1] if page == 0 else entries[1:]
        body = json.dumps(entries).encode() if hub.listing is None else hub.listing
        self.answer(200, body, headers)

    def file(self, path, direct=False):
        hub = self.server.hub
        if hub.redirect and not direct:
            return self.answer(302, b"", [("Location", hub.redirect + path),
                                          ("X-Linked-Etag", f'"{sha256(hub.files[path])}"')])
        hub.requests.append((path, dict(self.headers)))
        if path not in hub.files:
            return self.answer(404, b"not here")
        data = hub.serve(path) if hub.serve else hub.files[path]
        start = 0
        asked = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        if asked and not hub.ignore_range and not (hub.check_if_range and condition and condition != hub.etag):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        if hub.etag:
            self.send_header("ETag", hub.etag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        stop = hub.break_at.pop(0) if hub.break_at else None
        body = data[start:] if stop is None else data[start:start + stop]
        self.wfile.write(body)
        self.wfile.flush()
        if hub.stall:
            time.sleep(hub.stall.pop(0))
        if stop is not None:
            self.close_connection = True
            self.connection.close()


@pytest.fixture
def hub():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.hub = Hub()
    server.url = server.hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def pull(run, double, hub):
    def call(name="hf:own/name", *arguments, **extra):
        return run(double, "pull", name, "--endpoint", hub.url, "--retry-delay", "0.01", *arguments, **extra)

    return call


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache/models/own--name"


def names(folder):
    return sorted(p.name for p in folder.iterdir() if p.name != ".lock")


def test_whole_file(pull, hub, folder):
    done = pull()
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().strip() == str(folder / "m.gguf")
    assert (folder / "m.gguf").read_bytes() == BODY
    assert names(folder) == ["m.gguf"]


def test_connection_breaks_half_way_and_the_rest_is_asked_for(pull, hub, folder):
    hub.break_at = [HALF]
    done = pull()
    assert done.returncode == 0, done.stderr
    assert (folder / "m.gguf").read_bytes() == BODY
    first, second = hub.requests
    assert "Range" not in first[1]
    start = int(second[1]["Range"].removeprefix("bytes=").rstrip("-"))
    assert 0 < start <= HALF
    assert second[1]["If-Range"] == '"v1"'


def test_many_breaks_are_fine_as_long_as_bytes_arrive(pull, hub, folder):
    hub.break_at = [100_000] * 9
    done = pull("hf:own/name", "--retries", "2")
    assert done.returncode == 0, done.stderr
    assert (folder / "m.gguf").read_bytes() == BODY


def test_next_run_goes_on_where_the_last_one_ended(pull, hub, folder):
    hub.break_at = [HALF, 0, 0, 0]
    done = pull("hf:own/name", "--retries", "1")
    assert done.returncode == 1
    assert b"goes on from there" in done.stderr
    assert names(folder) == ["m.gguf.part", "m.gguf.part.etag"]
    assert (folder / "m.gguf.part").read_bytes() == BODY[:HALF]
    hub.break_at = []
    hub.requests.clear()
    done = pull()
    assert done.returncode == 0, done.stderr
    assert hub.requests[0][1]["Range"] == f"bytes={HALF}-"
    assert hub.requests[0][1]["If-Range"] == '"v1"'
    assert (folder / "m.gguf").read_bytes() == BODY
    assert names(folder) == ["m.gguf"]


def test_unfinished_pull_is_not_taken_for_a_model(pull, run, double, hub, tmp_path):
    hub.break_at = [HALF, 0, 0]
    assert pull("hf:own/name", "--retries", "0").returncode == 1
    policy = tmp_path / "p.md"
    policy.write_text("Answer 1 for spam, else 0.")
    done = run(double, "check", "--policy", policy, "--model", "hf:own/name", "text")
    assert done.returncode == 1
    assert b"safeguard pull hf:own/name" in done.stderr


def test_server_that_ignores_range(pull, hub, folder):
    hub.ignore_range = True
    hub.break_at = [HALF]
    done = pull()
    assert done.returncode == 0, done.stderr
    assert (folder / "m.gguf").read_bytes() == BODY


def test_etag_changes_in_between(pull, hub, folder):
    """If-Range makes the server send the new file whole; the bytes of the old one must not stay in it."""
    old = bytes(reversed(BODY))
    hub.serve = lambda path: old if hub.etag == '"v0"' else BODY
    hub.etag = '"v0"'
    hub.break_at = [HALF, 0, 0]
    assert pull("hf:own/name", "--retries", "1").returncode == 1
    hub.etag = '"v1"'
    hub.break_at = []
    done = pull()
    assert done.returncode == 0, done.stderr
    assert (folder / "m.gguf").read_bytes() == BODY


def test_etag_changes_and_the_server_does_not_know_if_range(pull, hub, folder):
    old = bytes(reversed(BODY))
    hub.serve = lambda path: old if hub.etag == '"v0"' else BODY
    hub.check_if_range = False
    hub.etag = '"v0"'
    hub.break_at = [HALF, 0, 0]
    assert pull("hf:own/name", "--retries", "1").returncode == 1
    hub.etag = '"v1"'
    hub.break_at = []
    done = pull()
    assert done.returncode == 0, done.stderr
    assert (folder / "m.gguf").read_bytes() == BODY


def test_left_over_bytes_are_wrong(pull, hub, folder):
    """No ETag to tell: the checksum does, and the file is fetched once more from the start."""
    hub.etag = None
    folder.mkdir(parents=True)
    (folder / "m.gguf.part").write_bytes(b"x" * HALF)
    done = pull()
    assert done.returncode == 0, done.stderr
    assert (folder / "m.gguf").read_bytes() == BODY


@pytest.mark.parametrize("wrong", [BODY[:-1] + b"X", b"\0" * len(BODY)])
def test_wrong_bytes_are_refused(pull, hub, folder, wrong):
    hub.serve = lambda path: wrong
    done = pull()
    assert done.returncode == 1
    assert sha256(wrong).encode() in done.stderr and sha256(BODY).encode() in done.stderr
    assert names(folder) == []


def test_small_files_are_checked_too(pull, hub, folder):
    hub.files = {"config.json": b"{}", "model.safetensors": BODY}
    hub.serve = lambda path: b"[]" if path == "config.json" else hub.files[path]
    done = pull()
    assert done.returncode == 1
    assert b"SHA-1" in done.stderr and git_sha1(b"{}").encode() in done.stderr
    assert names(folder) == ["model.safetensors"]


@pytest.mark.parametrize("served, word", [(BODY + b"more", b"more bytes"), (BODY[:-10], b"ends after")])
def test_wrong_length_is_refused(pull, hub, folder, served, word):
    hub.serve = lambda path: served
    done = pull()
    assert done.returncode == 1
    assert word in done.stderr
    assert "m.gguf" not in names(folder)


def test_file_without_any_checksum_is_refused(pull, hub, folder):
    hub.listing = json.dumps([{"type": "file", "path": "m.gguf", "size": len(BODY)}]).encode()
    done = pull()
    assert done.returncode == 1
    assert b"no checksum" in done.stderr
    assert names(folder) == []


def test_redirect_and_its_linked_etag(pull, hub, folder):
    hub.redirect = hub.url + "/cdn/"
    hub.listing = json.dumps([{"type": "file", "path": "m.gguf", "size": len(BODY)}]).encode()
    done = pull()
    assert done.returncode == 0, done.stderr
    assert (folder / "m.gguf").read_bytes() == BODY


def test_token_goes_to_the_hub_but_not_to_another_host(pull, hub):
    hub.redirect = hub.url.replace("127.0.0.1", "localhost") + "/cdn/"
    done = pull(HF_TOKEN="hf_secret")
    assert done.returncode == 0, done.stderr
    assert "Authorization" not in hub.requests[0][1]
    hub.redirect = None
    hub.files["m.gguf"] = BODY + b"2"
    assert pull(HF_TOKEN="hf_secret").returncode == 0
    assert hub.requests[1][1]["Authorization"] == "Bearer hf_secret"


@pytest.mark.parametrize("status, words", [
    (401, [b"401", b"HF_TOKEN"]),
    (403, [b"403", b"HF_TOKEN"]),
    (404, [b"404", b"no such model"]),
])
def test_refusals_are_not_tried_again(pull, hub, status, words):
    hub.statuses = [None, status]
    done = pull()
    assert done.returncode == 1
    for word in words:
        assert word in done.stderr
    assert b"hf_" not in done.stderr and b"error page" not in done.stderr
    assert hub.statuses == [] and hub.requests == []


def test_server_errors_are_tried_again(pull, hub, folder):
    hub.statuses = [500, 503, None, 502, 429, None]
    done = pull()
    assert done.returncode == 0, done.stderr
    assert (folder / "m.gguf").read_bytes() == BODY


def test_server_errors_without_end(pull, hub):
    hub.statuses = [500] * 20
    done = pull("hf:own/name", "--retries", "3")
    assert done.returncode == 1
    assert b"500" in done.stderr
    assert len(hub.statuses) == 16


def test_no_network(run, double):
    done = run(double, "pull", "hf:own/name", "--endpoint", "http://127.0.0.1:9", "--retry-delay", "0.01")
    assert done.returncode == 1
    assert b"connect" in done.stderr.lower()


def test_stalled_connection_is_given_up(pull, hub, folder):
    hub.break_at = [HALF]
    hub.stall = [40]
    started = time.time()
    done = pull("hf:own/name", "--stall-timeout", "1")
    assert done.returncode == 0, done.stderr
    assert time.time() - started < 30  # libcurl measures over some seconds
    assert (folder / "m.gguf").read_bytes() == BODY


def test_files_that_are_there_and_right_stay(pull, hub, folder):
    assert pull().returncode == 0
    hub.requests.clear()
    done = pull()
    assert done.returncode == 0, done.stderr
    assert hub.requests == []
    (folder / "m.gguf").write_bytes(b"y" * len(BODY))
    assert pull().returncode == 0
    assert (folder / "m.gguf").read_bytes() == BODY


def test_safetensors_folder_without_the_copies_for_others(pull, hub, folder):
    hub.files = {
        "config.json": b"{}", "tokenizer.json": b"{\"t\":1}", "model.safetensors.index.json": b"{\"i\":1}",
        "model-00001-of-00002.safetensors": BODY, "model-00002-of-00002.safetensors": BODY + b"2",
        "original/model.safetensors": b"o", "metal/model.bin": b"m", "README.md": b"r",
    }
    done = pull()
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().strip() == str(folder)
    assert names(folder) == sorted(["config.json", "tokenizer.json", "model.safetensors.index.json",
                                    "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"])
    assert hub.requests[-1][0] == "config.json"  # what makes it a model comes last


def test_split_gguf_comes_whole_its_first_part_last(pull, hub, folder):
    hub.files = {f"Q4/m-0000{i}-of-00003.gguf": BODY + b"%d" % i for i in (1, 2, 3)} | {"other.gguf": BODY}
    done = pull("hf:own/name:Q4/m-00001-of-00003.gguf")
    assert done.returncode == 0, done.stderr
    assert [path for path, _ in hub.requests] == [f"Q4/m-0000{i}-of-00003.gguf" for i in (3, 2, 1)]
    assert done.stdout.decode().strip() == str(folder / "Q4/m-00001-of-00003.gguf")


def test_several_models_are_named(pull, hub):
    hub.files = {"a.gguf": BODY, "b.gguf": BODY}
    done = pull()
    assert done.returncode == 2
    assert b"a.gguf" in done.stderr and b"b.gguf" in done.stderr and b"hf:own/name:FILE" in done.stderr
    assert pull("hf:own/name:b.gguf").returncode == 0
    done = pull("hf:own/name:c.gguf")
    assert done.returncode == 1 and b"no file c.gguf" in done.stderr


def test_listing_in_pages(pull, hub, folder):
    hub.pages = True
    done = pull()
    assert done.returncode == 0, done.stderr
    assert (folder / "m.gguf").read_bytes() == BODY


@pytest.mark.parametrize("path", ["../m.gguf", "a/../../m.gguf", "/etc/m.gguf", "a b.gguf", ".hidden/m.gguf"])
def test_listing_cannot_lead_out_of_the_folder(pull, hub, path, tmp_path):
    hub.files = {path: BODY}
    done = pull()
    assert done.returncode == 1
    assert b"bad name" in done.stderr
    assert not list(tmp_path.rglob("m.gguf")) and hub.requests == []


@pytest.mark.parametrize("listing", [b"", b"{}", b"[", b"[1,2]", b'[{"type":"file","path":"m.gguf","size":-1}]',
                                     b'[{"type":"file","path":"m.gguf","size":"9"}]', b'[{"path":7}]', b"null"])
def test_hostile_listing(pull, hub, listing):
    hub.listing = listing
    done = pull()
    assert done.returncode == 1
    assert done.stderr.startswith(b"safeguard: ")


def test_not_enough_room(pull, hub):
    hub.listing = json.dumps([{"type": "file", "path": "m.gguf", "size": 1 << 60,
                               "lfs": {"oid": "0" * 64, "size": 1 << 60}}]).encode()
    done = pull()
    assert done.returncode == 1
    assert b"not enough room" in done.stderr
    assert hub.requests == []


def test_disk_full_while_writing(run, double, hub, tmp_path):
    """A limit on the size of files stands in for a full disk."""
    import resource
    import subprocess
    script = "ulimit -f 512; trap '' XFSZ; exec \"$@\""  # 512 KiB
    done = subprocess.run(["bash", "-c", script, "-", double, "pull", "hf:own/name", "--endpoint", hub.url],
                          capture_output=True, timeout=60,
                          env={"PATH": os.environ["PATH"], "SAFEGUARD_CACHE": str(tmp_path / "cache")})
    assert done.returncode == 1
    assert b"cannot write" in done.stderr


def test_two_pulls_at_once(pull, hub, folder):
    import fcntl
    folder.mkdir(parents=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = pull()
    assert done.returncode == 1
    assert b"another pull" in done.stderr


@pytest.mark.parametrize("name", ["nothing", "hf:", "hf:own", "hf:own/", "hf:/name", "hf:own/..", "hf:../name",
                                  "hf:own/name:", "hf:own/name:../x.gguf", "hf:own/na me", "hf:own/name/x"])
def test_bad_names(pull, name):
    done = pull(name)
    assert done.returncode == 2
    assert name.encode() in done.stderr


def test_pinned_checksum_of_the_default_model(run, double, env):
    """The known default is pinned: a hub that lists other bytes is refused."""

    class Other(Handler):
        def do_GET(self):
            self.answer(200, json.dumps([{"type": "file", "path": "SmolLM2-135M-Instruct.Q4_1.gguf", "size": 5,
                                          "lfs": {"oid": "1" * 64, "size": 5}}]).encode())

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    done = run(double, "pull", "smollm2-135m-instruct", HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()
    assert done.returncode == 1
    assert b"b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53" in done.stderr
