"""A model server that needs no model: vLLM's OpenAI API and metrics, with faults on demand.

Arguments are vLLM's; only the names of the models are heeded. Environment:
    FLYWHEEL_MODEL_VERSION: What every answer names in ``x-flywheel-version``.
    FAULT: ``error`` (status 500), ``slow``, ``crash``, ``never-ready``, or empty.
    FAULT_VERSION: The fault is this model version's alone; empty for every version.
    FAULT_SECONDS: Delay of the first token when ``slow``; default 2.
    FAULT_AFTER: Requests answered before a ``crash``; default 20, 0 crashes at the start.
"""

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ.get("FLYWHEEL_MODEL_VERSION", "")
FAULT = os.environ.get("FAULT", "") if os.environ.get("FAULT_VERSION", VERSION) in ("", VERSION) else ""
DELAY_S = float(os.environ.get("FAULT_SECONDS", "2"))
AFTER = int(os.environ.get("FAULT_AFTER", "20"))
BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0)


def model_names(argv: list[str]) -> list[str]:
    """Names under which models are asked for: ``--served-model-name`` and the adapters of ``--lora-modules``."""
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith("--") else [word])]
    found, option = [], ""
    for word in words:
        if word.startswith("--"):
            option = word
        elif option == "--served-model-name":
            found.append(word)
        elif option == "--lora-modules":
            found.append(word.split("=")[0])
    return found


class Metrics:
    """What vLLM exports, as far as a rollout reads it."""

    def __init__(self, model: str) -> None:
        self.lock, self.labels = threading.Lock(), f'engine="0",model_name="{model}"'
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.finished = self.running = 0
        self.times: dict[str, list[float]] = {"time_to_first_token_seconds": [], "e2e_request_latency_seconds": []}

    def text(self) -> str:
        """The page in Prometheus' format."""
        with self.lock:
            lines = [
                f"vllm:num_requests_running{{{self.labels}}} {self.running}",
                f"vllm:num_requests_waiting{{{self.labels}}} 0",
                f'vllm:request_success_total{{{self.labels},finished_reason="stop"}} {self.finished}',
            ]
            for (handler, method, status), count in self.requests.items():
                labels = f'handler="{handler}",method="{method}",status="{status}"'
                lines.append(f"http_requests_total{{{labels}}} {count}")
            for name, values in self.times.items():
                for bound in (*BUCKETS, float("inf")):
                    edge = "+Inf" if bound == float("inf") else bound
                    count = sum(value <= bound for value in values)
                    lines.append(f'vllm:{name}_bucket{{{self.labels},le="{edge}"}} {count}')
                lines += [f"vllm:{name}_sum{{{self.labels}}} {sum(values)}"]
                lines += [f"vllm:{name}_count{{{self.labels}}} {len(values)}"]
        return "\n".join(lines) + "\n"


MODELS = model_names(sys.argv[1:]) or ["standin"]
METRICS = Metrics(MODELS[0])


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Health, metrics and the list of models."""
        if self.path == "/health":
            self.answer(503 if FAULT == "never-ready" else 200, b"", "text/plain")
        elif self.path == "/metrics":
            self.answer(200, METRICS.text().encode(), "text/plain; version=0.0.4")
        elif self.path == "/v1/models":
            data = [{"id": name, "object": "model", "owned_by": "vllm"} for name in MODELS]
            self.answer_json(200, {"object": "list", "data": data})
        else:
            self.answer_json(404, {"error": {"message": "Not Found", "code": 404}})

    def do_POST(self) -> None:
        """A chat completion."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path != "/v1/chat/completions":
            self.answer_json(404, {"error": {"message": "Not Found", "code": 404}})
            return
        with METRICS.lock:
            METRICS.running += 1
            asked = sum(count for (handler, _, _), count in METRICS.requests.items() if handler == self.path)
        if FAULT == "crash" and asked >= AFTER:
            os._exit(1)
        try:
            self.chat(json.loads(body))
        finally:
            with METRICS.lock:
                METRICS.running -= 1

    def chat(self, request: dict) -> None:
        """Answer one chat request."""
        begun = time.monotonic()
        if FAULT == "error":
            self.answer_json(500, {"error": {"message": "the stand-in fails", "type": "InternalServerError"}})
            return
        if request.get("model") not in MODELS:
            self.answer_json(404, {"error": {"message": f"no model {request.get('model')!r}", "type": "NotFoundError"}})
            return
        # No model answers at once; a proxy may break off an answer that begins before the request has ended.
        time.sleep(DELAY_S if FAULT == "slow" else 0.01)
        words = f"This is version {VERSION}".split()
        prompt = sum(len(str(message.get("content")).split()) for message in request["messages"])
        usage = {"prompt_tokens": prompt, "completion_tokens": len(words), "total_tokens": prompt + len(words)}
        head = {"id": "chatcmpl-0", "created": int(time.time()), "model": request["model"]}
        first = time.monotonic() - begun
        if request.get("stream"):
            self.stream(head, words, usage if (request.get("stream_options") or {}).get("include_usage") else None)
        else:
            choice = {"index": 0, "message": {"role": "assistant", "content": " ".join(words)}, "finish_reason": "stop"}
            self.answer_json(200, {**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        with METRICS.lock:
            METRICS.finished += 1
            METRICS.times["time_to_first_token_seconds"].append(first)
            METRICS.times["e2e_request_latency_seconds"].append(time.monotonic() - begun)

    def stream(self, head: dict, words: list[str], usage: dict | None) -> None:
        """Server-sent events, one word each."""
        self.head(200, "text/event-stream", {"transfer-encoding": "chunked"})
        choices = [{"index": 0, "delta": {"content": word + " "}, "finish_reason": None} for word in words]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        chunks = [{**head, "object": "chat.completion.chunk", "choices": [choice]} for choice in choices]
        if usage:
            chunks.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        for text in (*map(json.dumps, chunks), "[DONE]"):
            event = f"data: {text}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def answer_json(self, status: int, value: object) -> None:
        """Send JSON."""
        self.answer(status, json.dumps(value).encode(), "application/json")

    def answer(self, status: int, body: bytes, kind: str) -> None:
        """Send a whole answer."""
        self.head(status, kind, {"content-length": str(len(body))})
        self.wfile.write(body)

    def head(self, status: int, kind: str, headers: dict[str, str]) -> None:
        """Send and count the status, and send the headers."""
        if self.path.startswith("/v1/"):
            with METRICS.lock:
                METRICS.requests[self.path, self.command, f"{status // 100}xx"] += 1
        self.send_response(status)
        for name, value in {"content-type": kind, "x-flywheel-version": VERSION, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing: probes come every second."""


class Server(ThreadingHTTPServer):
    """Ends as uvicorn does: takes no more connections, and finishes what it was asked."""

    daemon_threads = False
    request_queue_size = 128


def main() -> None:
    """Serve until SIGTERM."""
    if FAULT == "crash" and AFTER == 0:
        sys.exit("the stand-in crashes")
    server = Server(("", 8080), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"serving {', '.join(MODELS)} as version {VERSION!r}, fault {FAULT!r}")
    server.serve_forever(poll_interval=0.1)
    # Idle connections would keep their threads, and this process, for ever.
    while METRICS.running:
        time.sleep(0.05)
    os._exit(0)


if __name__ == "__main__":
    main()
