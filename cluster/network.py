"""Addresses of the local cluster and its one link to this machine."""

import socket
import subprocess
from dataclasses import dataclass

from llm_flywheel.components.common.errors import FlywheelError

NODE = "flywheel"


@dataclass(frozen=True)
class Network:
    """The addresses of one node; several nodes on one machine have different numbers.

    Attributes:
        number: 0 to 9.
    """

    number: int = 0

    @property
    def host_link(self) -> str:
        """This machine's end of the cable."""
        return f"flywheel{self.number}"

    @property
    def node_link(self) -> str:
        """The node's end of the cable."""
        return f"node{self.number}"

    @property
    def host_ip(self) -> str:
        """This machine's address on the cable."""
        return f"10.210.{self.number}.1"

    @property
    def node_ip(self) -> str:
        """The node's address: API server, Gateway, DNS."""
        return f"10.210.{self.number}.2"

    @property
    def pods(self) -> str:
        """Network of the pods."""
        return f"10.{244 + self.number}.0.0/16"

    def service(self, last: int) -> str:
        """Address number ``last`` of the network of the Services."""
        return f"10.{96 + self.number}.0.{last}"

    @property
    def services(self) -> str:
        """Network of the Services."""
        return f"{self.service(0)}/16"

    @property
    def api_url(self) -> str:
        """Address of the API server."""
        return f"https://{self.node_ip}:6443"

    def api_server_names(self) -> list[str]:
        """Names and addresses by which clients know the API server."""
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
        return [*names, "localhost", "127.0.0.1", self.node_ip, self.service(1)]

    def connect(self, pid: int) -> None:
        """Lay a cable from this machine into the network namespace of a process, and route the node's addresses to it.

        The cable and the routes go when the namespace goes.

        Raises:
            FlywheelError: The kernel refuses, or the addresses are taken.
        """
        peer = ("peer", "name", self.node_link, "netns", str(pid))
        command("ip", "link", "add", self.host_link, "type", "veth", *peer)
        command("ip", "address", "add", f"{self.host_ip}/24", "dev", self.host_link)
        command("ip", "link", "set", self.host_link, "up")
        for network in (self.pods, self.services):
            command("ip", "route", "add", network, "via", self.node_ip, "dev", self.host_link)

    def set_up_inside(self) -> None:
        """The other end of the cable; called inside the namespace once the cable is there.

        The default route leads nowhere (no one answers for a foreign address on the cable), but kubelet wants one.
        """
        command("ip", "link", "set", "lo", "up")
        command("ip", "address", "add", f"{self.node_ip}/24", "dev", self.node_link)
        command("ip", "link", "set", self.node_link, "up")
        command("ip", "route", "add", "default", "dev", self.node_link)
        with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as file:
            file.write("1")


def exists(link: str) -> bool:
    """Whether the network namespace of this process has a link of that name."""
    return any(name == link for _, name in socket.if_nameindex())


def command(*argv: str) -> str:
    """Run a program of the system and return what it said; FlywheelError with that when it fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True)
    except FileNotFoundError:
        raise FlywheelError(
            f"{argv[0]} is not installed", fix="make cluster-programs (needs root)", reason="missing"
        ) from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-800:]
        raise FlywheelError(f"{' '.join(argv)[:200]}: {said}", reason="cluster")
    return done.stdout
