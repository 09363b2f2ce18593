"""The stand-in model server answers as vLLM does, as far as clients and the rollout look."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from llm_flywheel.serving.rollout.pods import read_totals

from .conftest import MANIFESTS

PROGRAM = MANIFESTS / "overlays" / "local" / "standin.py"
NAMES = ["--model=/mnt/models/base", "--served-model-name=m-base", "--lora-modules", "m=/mnt/models/adapter"]


@pytest.fixture
def start():
    """Starts the server; its port has to be free, so the program is run with another one."""
    running = []

    def run(**environment):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        text = PROGRAM.read_text().replace('("", 8080)', f'("127.0.0.1", {port})')
        process = subprocess.Popen([sys.executable, "-c", text, *NAMES], env={"PATH": "", **environment})
        running.append(process)
        url = f"http://127.0.0.1:{port}"
        for _ in range(100):
            try:
                urllib.request.urlopen(f"{url}/metrics", timeout=5).close()
                break
            except OSError:
                time.sleep(0.05)
        return url, process

    yield run
    for process in running:
        process.kill()
        process.wait()


def ask(url, **body):
    message = {"model": "m", "messages": [{"role": "user", "content": "How are you"}], **body}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(message).encode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["x-flywheel-version"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["x-flywheel-version"], error.read().decode()


def page(url):
    return urllib.request.urlopen(f"{url}/metrics", timeout=5).read().decode()


def totals(url):
    return read_totals(page(url))


def test_an_answer_names_its_version_and_counts(start):
    url, _ = start(FLYWHEEL_MODEL_VERSION="3")

    status, version, body = ask(url)

    answer = json.loads(body)
    assert (status, version) == (200, "3")
    assert answer["choices"][0]["message"]["content"] == "This is version 3"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    found = totals(url)
    assert (found.served, found.errors, found.ttft_count, found.running) == (1, 0, 1, 0)


def test_a_stream_ends_with_its_usage(start):
    url, _ = start(FLYWHEEL_MODEL_VERSION="3")

    _, _, body = ask(url, stream=True, stream_options={"include_usage": True})

    *events, done, rest = body.split("\n\n")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert (done, rest) == ("data: [DONE]", "")
    text = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    assert text == "This is version 3 "
    assert chunks[-1]["usage"]["completion_tokens"] == 4


def test_models_are_those_of_vllms_arguments(start):
    url, _ = start()

    listed = json.load(urllib.request.urlopen(f"{url}/v1/models", timeout=5))
    assert [item["id"] for item in listed["data"]] == ["m-base", "m"]
    assert ask(url, model="other")[0] == 404


def test_errors(start):
    url, _ = start(FAULT="error")

    assert ask(url)[0] == 500
    assert (totals(url).served, totals(url).errors) == (1, 1)


def test_a_fault_of_another_version_is_not_ours(start):
    url, _ = start(FAULT="error", FAULT_VERSION="4", FLYWHEEL_MODEL_VERSION="3")

    assert ask(url)[0] == 200


def test_slow(start):
    url, _ = start(FAULT="slow", FAULT_SECONDS="0.3")

    ask(url)

    assert totals(url).ttft_sum >= 0.3


def test_never_ready(start):
    url, _ = start(FAULT="never-ready")

    with pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(f"{url}/health", timeout=5)


def test_a_crash_comes_after_as_many_requests_as_told(start):
    url, process = start(FAULT="crash", FAULT_AFTER="2")

    assert [ask(url)[0], ask(url)[0]] == [200, 200]
    with pytest.raises(OSError):
        ask(url)
    assert process.wait(5) == 1


def test_the_end_waits_for_answers_under_way(start):
    url, process = start(FAULT="slow", FAULT_SECONDS="0.5")
    found = []
    thread = threading.Thread(target=lambda: found.append(ask(url)[0]))
    thread.start()
    while 'running{engine="0",model_name="m-base"} 1' not in page(url):
        time.sleep(0.02)
    process.terminate()
    thread.join()

    assert found == [200]
    assert process.wait(5) == 0
