"""A second node beside the cluster under test: whatever ends it, nothing of it stays."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from llm_flywheel.cluster import node as node_module
from llm_flywheel.cluster.network import Network, exists
from llm_flywheel.cluster.node import LocalNode, stop, supervisors
from llm_flywheel.cluster.programs import NODE, build
from llm_flywheel.components.common.errors import FlywheelError

CACHE = Path(__file__).parents[2] / ".cache" / "cluster"
NETWORK = Network(7)
STARTED = time.time()

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="a node needs root"),
    pytest.mark.skipif(not (CACHE / "node").exists(), reason="the cluster under test is not a node of our own"),
]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "node"
    yield folder
    stop(folder, NETWORK)


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    return build(NODE, CACHE / "programs")


def left_behind(state: Path) -> list[str]:
    """Processes, mounts, links and names of a node."""
    found = [f"link {NETWORK.host_link}"] if exists(NETWORK.host_link) else []
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(state) in line]
    for folder in ("/run/netns", "/run/containerd", "/var/log/containers", "/var/lib/cni", "/var/lib/kubelet"):
        found += [str(path) for path in Path(folder).glob("*") if path.lstat().st_mtime > STARTED]
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if str(state) in " ".join(process.cmdline()):
                found.append(f"{process.pid} {process.name()}")
    return found


def wait_until_gone(state: Path) -> list[str]:
    deadline = time.monotonic() + 30
    while left_behind(state) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left_behind(state)


def start_with_a_pod(state: Path, programs: dict[str, Path]) -> LocalNode:
    node = LocalNode(state, programs, NETWORK)
    node.start()
    node.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
    node.kubectl("run", "pause", "--image=localhost/flywheel/pause:1", "--image-pull-policy=Never")
    node.kubectl("wait", "--for=condition=Ready", "pod/pause", "--timeout=60s")
    return node


def test_a_node_that_is_killed_takes_everything_with_it(state: Path, programs: dict[str, Path]) -> None:
    start_with_a_pod(state, programs)
    assert left_behind(state)
    for process in supervisors(state):
        process.kill()
    assert wait_until_gone(state) == []
    stop(state, NETWORK)
    assert not state.exists()


def test_a_program_that_dies_comes_back(state: Path, programs: dict[str, Path]) -> None:
    node = start_with_a_pod(state, programs)
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if str(state) in " ".join(process.cmdline()) and process.name().startswith("kube-apiserver"):
                process.kill()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(FlywheelError):
            if "pause" in node.kubectl("get", "pods", "-o", "name"):
                break
        time.sleep(0.5)
    else:
        pytest.fail("the API server did not come back")
    stop(state, NETWORK)
    assert wait_until_gone(state) == []


def test_a_neighbours_node_is_left_alone(state: Path, programs: dict[str, Path], tmp_path: Path) -> None:
    node = start_with_a_pod(state, programs)
    with pytest.raises(FlywheelError, match="another checkout's node is running"):
        LocalNode(tmp_path / "other", programs, NETWORK).start()
    stop(tmp_path / "other", NETWORK)
    assert "pause" in node.kubectl("get", "pods", "-o", "name")


def test_a_half_done_start_leaves_nothing(
    state: Path, programs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "_START_S", 3.0)
    broken = {**programs, "kube-apiserver": Path("/bin/false")}
    with pytest.raises(FlywheelError, match="the API server does not come up"):
        LocalNode(state, broken, NETWORK).start()
    assert wait_until_gone(state) == []
    assert not state.exists()
