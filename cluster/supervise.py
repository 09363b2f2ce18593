"""Process 1 of the local cluster: starts the node's programs in their order, keeps them running, reaps orphans.

It runs in PID, mount and network namespaces of its own, so that its end, however it comes, is the end of every
process, mount and interface of the cluster.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from llm_flywheel.cluster.network import NODE, Network, command, exists

_RESTART_S = 1.0


class Node:
    """The programs of the node.

    Args:
        state: Folder of everything that the cluster writes; ``start.json`` in it says where the programs are.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        start = json.loads((state / "start.json").read_text(encoding="utf-8"))
        self._programs: dict[str, str] = start["programs"]
        self._network = Network(start["network"])
        self._pki = state / "pki"
        self._running: dict[int, str] = {}
        self._commands: dict[str, list[str]] = {}

    def run(self) -> None:
        """Start everything, then keep it running until killed."""
        self._own_folders()
        while not exists(self._network.node_link):
            time.sleep(0.05)
        self._network.set_up_inside()
        self._write_configs()
        self._commands = self._in_order()
        for name in self._commands:
            self._start(name)
        while True:
            # As process 1 we inherit every orphan; waiting for any child reaps them too.
            pid, status = os.wait()
            name = self._running.pop(pid, "")
            if name:
                print(f"{name} ended with {status}; started again", flush=True)
                time.sleep(_RESTART_S)
                self._start(name)

    def _own_folders(self) -> None:
        """Let what the programs write outside of the state folder (sockets, links to logs, plugins) stay in here."""
        upper, work = self._state / "var", self._state / "var-work"
        upper.mkdir()
        work.mkdir()
        layers = f"lowerdir=/var,upperdir={upper},workdir={work}"
        command("mount", "--types", "overlay", "overlay", "--options", layers, "/var")
        command("mount", "--types", "tmpfs", "tmpfs", "/run")
        command("mount", "--make-rshared", "/")

    def _start(self, name: str) -> None:
        with (self._state / "logs" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(self._commands[name], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._running[process.pid] = name

    def _in_order(self) -> dict[str, list[str]]:
        program, state, pki, network = self._programs, self._state, self._pki, self._network

        def config(name: str) -> str:
            return str(state / "config" / name)

        return {
            "etcd": [
                program["etcd"],
                f"--data-dir={state / 'etcd'}",
                "--unsafe-no-fsync",  # the data does not outlive the node anyway
                "--log-level=warn",
            ],
            "kube-apiserver": [
                program["kube-apiserver"],
                "--etcd-servers=http://127.0.0.1:2379",
                f"--advertise-address={network.node_ip}",
                f"--service-cluster-ip-range={network.services}",
                f"--client-ca-file={pki / 'ca.crt'}",
                f"--tls-cert-file={pki / 'apiserver.crt'}",
                f"--tls-private-key-file={pki / 'apiserver.key'}",
                f"--kubelet-client-certificate={pki / 'kubelet-client.crt'}",
                f"--kubelet-client-key={pki / 'kubelet-client.key'}",
                "--kubelet-preferred-address-types=InternalIP",
                f"--service-account-key-file={pki / 'service-accounts.key'}",
                f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--authorization-mode=Node,RBAC",
                "--allow-privileged=true",
            ],
            "kube-controller-manager": [
                program["kube-controller-manager"],
                f"--kubeconfig={pki / 'controller-manager.kubeconfig'}",
                f"--root-ca-file={pki / 'ca.crt'}",
                f"--service-account-private-key-file={pki / 'service-accounts.key'}",
                "--use-service-account-credentials=true",
                "--leader-elect=false",
            ],
            "kube-scheduler": [
                program["kube-scheduler"],
                f"--kubeconfig={pki / 'scheduler.kubeconfig'}",
                "--leader-elect=false",
            ],
            "containerd": ["containerd", f"--config={config('containerd.toml')}"],
            "kubelet": [
                program["kubelet"],
                f"--kubeconfig={pki / 'kubelet.kubeconfig'}",
                f"--config={config('kubelet.yaml')}",
                f"--root-dir={state / 'kubelet'}",
                f"--hostname-override={NODE}",
                f"--node-ip={network.node_ip}",
            ],
            "kube-proxy": [program["kube-proxy"], f"--config={config('kube-proxy.yaml')}"],
            "coredns": [program["coredns"], f"-conf={config('Corefile')}"],
        }

    def _write_configs(self) -> None:
        folder, state = self._state / "config", self._state
        (folder / "cni").mkdir(parents=True, exist_ok=True)
        (folder / "containerd.toml").write_text(
            f"""version = 2
root = "{state}/containerd"
state = "{state}/containerd-state"
[grpc]
  address = "{state}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/flywheel/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
""",
            encoding="utf-8",
        )
        bridge = {
            "type": "bridge",
            "bridge": "pods0",
            "isGateway": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": str(state / "cni"),
                "ranges": [[{"subnet": self._network.pods}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
        plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
        conflist = {"cniVersion": "0.4.0", "name": "flywheel", "plugins": plugins}
        (folder / "cni" / "10-flywheel.conflist").write_text(json.dumps(conflist), encoding="utf-8")
        kubelet = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": False},
                "x509": {"clientCAFile": str(self._pki / "ca.crt")},
            },
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": False,
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "evictionHard": {},
            "imageGCHighThresholdPercent": 100,
            "clusterDNS": [self._network.service(10)],
            "clusterDomain": "cluster.local",
            "resolvConf": "",
            "oomScoreAdj": 0,
            "containerRuntimeEndpoint": f"unix://{state}/containerd.sock",
            "nodeStatusUpdateFrequency": "5s",
            "podLogsDir": str(state / "pod-logs"),
        }
        proxy = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": str(self._pki / "kube-proxy.kubeconfig")},
            "hostnameOverride": NODE,
            "clusterCIDR": self._network.pods,
            "conntrack": {"maxPerCore": 0},
            "oomScoreAdj": 0,
        }
        for name, value in (("kubelet.yaml", kubelet), ("kube-proxy.yaml", proxy)):
            (folder / name).write_text(yaml.safe_dump(value), encoding="utf-8")
        kubernetes = f"kubernetes cluster.local in-addr.arpa {{\n    kubeconfig {self._pki}/coredns.kubeconfig\n  }}"
        corefile = f".:53 {{\n  bind {self._network.node_ip}\n  errors\n  {kubernetes}\n  cache 5\n}}\n"
        (folder / "Corefile").write_text(corefile, encoding="utf-8")


if __name__ == "__main__":
    # Process 1 ignores signals it has no handler for; a polite request to stop is honoured.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    Node(Path(sys.argv[1])).run()
