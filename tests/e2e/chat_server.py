"""A chat server that behaves as each test wants it to, on the standard library alone."""

import http.server
import json
import math
import re
import socket
import threading
import time


def token(text, p=0.9, others=()):
    """One entry of logprobs.content; others: (text, p) beside the token itself."""
    entry = {"token": text, "bytes": list(text.encode()), "logprob": math.log(p)}
    listed = [(text, p), *others]
    return {**entry, "top_logprobs": [{"token": t, "bytes": list(t.encode()), "logprob": math.log(q)} for t, q in listed]}


ONE = [token("1", 0.9, [("0", 0.08), ("The", 0.01)])]
ZERO = [token("0", 0.7, [("1", 0.2), ("No", 0.05)])]


def count(body):
    """About what a tokenizer counts: words and marks of all messages, and the template around them."""
    return 20 + sum(len(re.findall(r"\w+|[^\w\s]", m["content"])) for m in body["messages"])


class Reply:
    """What the server says to one request. pieces: (kind, text, logprobs) with kind a key of the delta."""

    def __init__(self, *pieces, finish="stop", usage=count, model="served", done=True, error=None):
        self.pieces, self.finish, self.usage, self.model, self.done, self.error = pieces, finish, usage, model, done, error

    def chunks(self, body):
        def chunk(delta, finish=None, logprobs=None):
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            if logprobs is not None:
                choice["logprobs"] = {"content": logprobs}
            return {"id": "c", "object": "chat.completion.chunk", "model": self.model, "choices": [choice]}

        yield chunk({"role": "assistant", "content": ""})
        wanted = body.get("logprobs")
        for kind, text, logprobs in self.pieces:
            yield chunk({kind: text}, None, logprobs if wanted else None)
        if self.error:
            yield self.error
            return
        if self.finish:
            yield chunk({}, self.finish)
        if self.usage:
            n = self.usage(body)
            yield {"model": self.model, "choices": [], "usage": {"prompt_tokens": n, "completion_tokens": 7,
                                                                 "prompt_tokens_details": {"cached_tokens": 3}}}

    def __call__(self, handler, body):
        handler.head(200, "text/event-stream")
        for chunk in self.chunks(body):
            handler.event(json.dumps(chunk))
        if self.done:
            handler.event("[DONE]")
        handler.end()


def answer(text, logprobs=(), reasoning="Because of rule P1.", **more):
    pieces = [("reasoning_content", reasoning, [token(reasoning)])] if reasoning else []
    return Reply(*pieces, ("content", text, list(logprobs)), **more)


def document(status, value, kind="application/json", **headers):
    """A body that is no stream; value: text, or something for JSON."""

    def reply(handler, body):
        data = (value if isinstance(value, str) else json.dumps(value)).encode()
        handler.head(status, kind, length=len(data), **headers)
        handler.wfile.write(data)

    return reply


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def head(self, status, kind, length=None, **headers):
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def raw(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def event(self, text):
        self.raw(f"data: {text}\n\n".encode())

    def end(self):
        self.wfile.write(b"0\r\n\r\n")

    def drop(self):
        """End the connection in the middle."""
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def do_POST(self):
        server = self.server.owner
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append((self.path, dict(self.headers.items()), body))
            reply = server.plan.pop(0) if server.plan else server.default
            server.active += 1
            server.most_active = max(server.most_active, server.active)
        try:
            reply(self, body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with server.lock:
                server.active -= 1


class ChatServer:
    def __init__(self):
        self.lock = threading.Lock()
        self.plan = []  # replies to the coming requests, then default
        self.default = answer("1", ONE)
        self.requests = []
        self.active = self.most_active = 0
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.owner = self
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_port}/v1"

    @property
    def bodies(self):
        return [body for _, _, body in self.requests]

    def close(self):
        self.http.shutdown()
        self.http.server_close()


def sleep(seconds):
    time.sleep(seconds)
