"""Starts and ends the one-node Kubernetes of this machine."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from llm_flywheel.cluster.network import NODE, Network, exists
from llm_flywheel.cluster.pki import Authority
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.files import write_secret

_SUPERVISOR = "llm_flywheel.cluster.supervise"
_START_S = 120.0
_READY = "ready"  # this file says that a start came to its end
# Who talks to the API server: kubeconfig name, user, group. The roles come with Kubernetes.
_CLIENTS = (
    ("admin", "flywheel-admin", "system:masters"),
    ("controller-manager", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    ("kubelet", f"system:node:{NODE}", "system:nodes"),
    ("kube-proxy", "system:kube-proxy", ""),
    ("coredns", "system:coredns", "system:masters"),
)


class LocalNode:
    """The node, with everything it writes in one folder.

    Args:
        state: That folder; it does not outlive the node.
        programs: Path by program name.
        network: Its addresses.
    """

    def __init__(self, state: Path, programs: dict[str, Path], network: Network = Network()) -> None:  # noqa: B008
        self._state, self._programs, self._network = state, programs, network
        self.kubeconfig = state / "pki" / "admin.kubeconfig"

    def running(self) -> bool:
        """Whether there is a node that has come up."""
        return bool(supervisors(self._state)) and (self._state / _READY).exists()

    def start(self) -> None:
        """Start the node and wait until it is ready; what fails half-way leaves nothing behind.

        Raises:
            FlywheelError: The machine lacks something, or the node does not come up.
        """
        _check_machine()
        stop(self._state, self._network)
        neighbour = _neighbour(self._network)
        if neighbour:
            raise FlywheelError(
                "another checkout's node is running", where=neighbour, fix="make cluster-down there", reason="taken"
            )
        try:
            self._prepare()
            self._network.connect(self._spawn())
            self._wait("the API server", self._api_answers)
            self._import_pause()
            self._announce_dns()
            self._wait("the node", self._node_ready)
            (self._state / _READY).touch()
        except BaseException:
            logs = self._keep_logs()
            stop(self._state, self._network)
            print(f"The node did not start; its logs are in {logs}", file=sys.stderr)
            raise

    def kubectl(self, *argv: str, text: str | None = None) -> str:
        """Run kubectl as admin; FlywheelError with what it said when it fails."""
        return kubectl(self._programs["kubectl"], self.kubeconfig, *argv, text=text)

    def import_image(self, archive: Path) -> None:
        """Make the images of a docker archive known to the node, unless it has that very file already."""
        marker = self._state / "imported" / archive.name
        stamp = str(archive.stat().st_mtime_ns)
        if marker.is_file() and marker.read_text(encoding="ascii") == stamp:
            return
        done = subprocess.run(
            [*self._ctr(), "images", "import", "--no-unpack", str(archive)], capture_output=True, text=True
        )
        if done.returncode:
            raise FlywheelError(f"cannot import the image: {done.stderr.strip()[-500:]}", where=str(archive))
        marker.parent.mkdir(exist_ok=True)
        marker.write_text(stamp, encoding="ascii")

    def images(self) -> set[str]:
        """Names of the images the node knows."""
        done = subprocess.run([*self._ctr(), "images", "ls", "-q"], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    def _ctr(self) -> list[str]:
        return ["ctr", "--address", str(self._state / "containerd.sock"), "--namespace", "k8s.io"]

    def _prepare(self) -> None:
        pki = self._state / "pki"
        authority = Authority()
        authority.pair.write(pki, "ca")
        authority.issue("kube-apiserver", hosts=self._network.api_server_names()).write(pki, "apiserver")
        authority.issue("kubelet-client", "system:masters").write(pki, "kubelet-client")
        authority.issue("service-accounts").write(pki, "service-accounts")
        for name, user, group in _CLIENTS:
            write_secret(pki / f"{name}.kubeconfig", authority.kubeconfig(self._network.api_url, user, group))
        (self._state / "logs").mkdir()
        programs = {name: str(path) for name, path in self._programs.items()}
        start = {"programs": programs, "network": self._network.number}
        (self._state / "start.json").write_text(json.dumps(start), encoding="utf-8")

    def _spawn(self) -> int:
        """Start the supervisor in its namespaces; returns its process id as seen from here."""
        unshare = ["unshare", "--fork", "--pid", "--mount", "--net", "--mount-proc", "--kill-child"]
        with (self._state / "logs" / "supervisor.log").open("ab") as log:
            outer = subprocess.Popen(
                [*unshare, sys.executable, "-m", _SUPERVISOR, str(self._state)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and outer.poll() is None:
            children = psutil.Process(outer.pid).children()
            if children:
                return int(children[0].pid)
            time.sleep(0.02)
        raise FlywheelError("cannot make namespaces", where="unshare", fix="run as root", reason="namespaces")

    def _wait(self, what: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_S
        while not ready():
            if time.monotonic() > deadline or not supervisors(self._state):
                raise FlywheelError(f"{what} does not come up", where=str(self._state / "logs"), reason="cluster")
            time.sleep(0.3)

    def _api_answers(self) -> bool:
        try:
            return self.kubectl("get", "--raw", "/readyz") == "ok"
        except FlywheelError:
            return False

    def _node_ready(self) -> bool:
        query = "{.items[*].status.conditions[?(@.type=='Ready')].status}"
        return self.kubectl("get", "nodes", "-o", f"jsonpath={query}") == "True"

    def _import_pause(self) -> None:
        from llm_flywheel.cluster.images import program_image

        self._wait("containerd", (self._state / "containerd.sock").exists)
        archive = self._state / "pause.tar"
        program_image(archive, "localhost/flywheel/pause:1", {"/pause": self._programs["pause"]}, ["/pause"])
        self.import_image(archive)

    def _announce_dns(self) -> None:
        """CoreDNS runs beside kubelet; pods find it through the Service that every cluster has."""
        ports = [
            {"name": name, "port": 53, "protocol": protocol} for name, protocol in (("dns", "UDP"), ("tcp", "TCP"))
        ]
        meta = {"name": "kube-dns", "namespace": "kube-system"}
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"clusterIP": self._network.service(10), "ports": ports},
        }
        slices = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**meta, "labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [self._network.node_ip]}],
        }
        self.kubectl(
            "apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": [service, slices]})
        )

    def _keep_logs(self) -> Path:
        kept = self._state.with_name("failed-logs")
        shutil.rmtree(kept, ignore_errors=True)
        with suppress(OSError):
            shutil.copytree(self._state / "logs", kept)
        return kept


def kubectl(program: Path, kubeconfig: Path, *argv: str, text: str | None = None) -> str:
    """Run kubectl.

    Raises:
        FlywheelError: It failed; with what it said.
    """
    done = subprocess.run(
        [str(program), f"--kubeconfig={kubeconfig}", *argv], input=text, capture_output=True, text=True
    )
    if done.returncode:
        raise FlywheelError(
            f"kubectl {' '.join(argv)[:120]}: {done.stderr.strip()[-1500:]}", where=str(kubeconfig), reason="kubectl"
        )
    return done.stdout


def supervisors(state: Path) -> list[psutil.Process]:
    """The processes that hold the node of this folder, found by what they run: no file has to survive a crash."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            argv = process.cmdline()
            if _SUPERVISOR in argv and str(state) in argv:
                found.append(process)
    return found


def _neighbour(network: Network) -> str:
    """State folder of the node that uses a network, or empty."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError, ValueError, KeyError):
            argv = process.cmdline()
            if _SUPERVISOR in argv:
                start = json.loads((Path(argv[-1]) / "start.json").read_text(encoding="utf-8"))
                if start["network"] == network.number:
                    return argv[-1]
    return ""


def stop(state: Path, network: Network = Network()) -> None:  # noqa: B008
    """End the node and everything in it, and remove what it wrote; harmless when there is none.

    The kernel ends every process of a PID namespace with its first one, and takes mounts and links along.
    """
    processes = supervisors(state)
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=60)
    # The kernel takes a namespace apart in its own time, and lingering connections can hold it for minutes.
    deadline = time.monotonic() + 2
    while exists(network.host_link) and time.monotonic() < deadline:
        time.sleep(0.1)
    if exists(network.host_link) and not _neighbour(network):
        subprocess.run(["ip", "link", "delete", network.host_link], capture_output=True)
    _remove_cgroups()
    for _ in range(50):
        shutil.rmtree(state, ignore_errors=True)
        if not state.exists():
            return
        time.sleep(0.2)
    raise FlywheelError("cannot remove what the node wrote", where=str(state), reason="cluster")


def _remove_cgroups() -> None:
    """The groups of containers that are gone; removing one that is still in use fails, as it should."""
    cgroups = Path("/sys/fs/cgroup")
    for root in (cgroups / "k8s.io", *cgroups.glob("*/k8s.io")):
        for folder in sorted(root.rglob("*"), reverse=True):
            if folder.is_dir():
                with suppress(OSError):
                    folder.rmdir()
        with suppress(OSError):
            root.rmdir()


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise FlywheelError(
            "a node needs root (namespaces, mounts, containers)",
            fix="sudo make cluster, or export KUBECONFIG=… of a cluster that you have (kind create cluster)",
            reason="root",
        )
    missing = [
        name
        for name in ("containerd", "ctr", "runc", "iptables", "conntrack", "ip", "unshare")
        if not shutil.which(name)
    ]
    if not Path("/usr/lib/cni/bridge").exists():
        missing.append("containernetworking-plugins")
    if missing:
        raise FlywheelError(f"not installed: {', '.join(missing)}", fix="make cluster-programs", reason="missing")
