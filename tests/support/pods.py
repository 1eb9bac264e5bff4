"""Containers of rendered manifests as processes of this machine: their own command, environment, files and probes.

What a cluster gives, this gives: Secrets, ConfigMaps and volumes as folders, names of Services as loopback ports. All
else is as rendered; a process sees no variable that the manifest does not name, but those that an image would bring.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil

from deploy.local import nats
from tests.support.chart import Manifest
from tests.support.servers import free_port

REPOSITORY = Path(__file__).parents[2]
_IMAGE = {"PYTHONPATH": f"{REPOSITORY / 'libs'}:{REPOSITORY}", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
_PROGRAMS = {"python": sys.executable, "nats-server": str(nats.binary())}
_VARIABLE = re.compile(r"\$\((\w+)\)")


class Cluster:
    """What containers find outside themselves. `outside` maps names of servers that no manifest makes to ports."""

    def __init__(self, folder: Path, manifests: list[Manifest], secrets: Mapping[str, Mapping[str, str]]) -> None:
        self.folder = folder
        self.secrets = secrets
        self.config_maps = {
            found["metadata"]["name"]: found["data"] for found in manifests if found["kind"] == "ConfigMap"
        }
        #: By `host:port` as peers call it.
        self.addresses: dict[str, int] = {}

    def serve(self, service: Manifest, ports: Mapping[str, int]) -> None:
        """Let the name of a Service lead to a pod's ports, by their names."""
        for port in service["spec"]["ports"]:
            host = service["metadata"]["name"]
            number = "" if port["port"] == 80 else f":{port['port']}"
            self.addresses[f"{host}{number}"] = ports[port["targetPort"]]

    def local(self, text: str) -> str:
        """The text with each address that a Service stands for as one on this machine."""
        for address, port in self.addresses.items():
            text = re.sub(rf"(dns:///|\b){re.escape(address)}(?![\w.:-])", f"127.0.0.1:{port}", text)
        return text


class Container:
    """One container of a pod called `name`. Its ports are chosen when it is made."""

    def __init__(self, cluster: Cluster, name: str, spec: Manifest, container: Manifest) -> None:
        self.name = name
        self._cluster = cluster
        self._spec = spec
        self._container = container
        self._folder = cluster.folder / f"{name}-{container['name']}"
        self.ports = {port["name"]: free_port() for port in container.get("ports", [])}
        self.process: psutil.Popen | None = None

    @property
    def log(self) -> Path:
        """What it writes."""
        return self._folder / "log"

    def start(self) -> None:
        """Start it as the manifest says."""
        mounts = self._mounts()
        command = [*self._container.get("command", []), *self._container.get("args", [])]
        environment = self._environment(mounts)
        with self.log.open("ab") as log:
            self.process = psutil.Popen(
                [_PROGRAMS.get(command[0], command[0]), *(self._here(part, mounts) for part in command[1:])],
                env=_IMAGE | environment,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def finish(self, within_s: float) -> str:
        """Wait for its good end; gives what it wrote."""
        assert self.process is not None
        code = self.process.wait(within_s)
        assert code == 0, f"{self.name} ended with {code}:\n{self._end_of_log()}"
        return self.log.read_text()

    def wait_for(self, probe: str, within_s: float) -> None:
        """Wait until the rendered probe succeeds."""
        assert self.process is not None
        deadline = time.monotonic() + within_s
        while not self.succeeds(probe):
            assert self.process.poll() is None, f"{self.name} ended:\n{self._end_of_log()}"
            assert time.monotonic() < deadline, f"{self.name}: {probe} within {within_s} s:\n{self._end_of_log()}"
            time.sleep(0.05)

    def succeeds(self, probe: str) -> bool:
        """Ask the probe once, as a kubelet does."""
        get = self._container[probe]["httpGet"]
        timeout_s = self._container[probe].get("timeoutSeconds", 1)
        try:
            url = f"http://127.0.0.1:{self.ports[get['port']]}{get['path']}"
            return 200 <= httpx.get(url, timeout=timeout_s, trust_env=False).status_code < 400
        except httpx.TransportError:
            return False

    def execute(self, *arguments: str, given: str = "") -> Any:
        """Run the container's program with arguments beside it, as `kubectl exec -i` would; it prints JSON."""
        mounts = self._mounts()
        done = subprocess.run(
            [_PROGRAMS["python"], *self._container["command"][1:], *arguments],
            env=_IMAGE | self._environment(mounts),
            cwd=REPOSITORY,
            input=given,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return json.loads(done.stdout)

    def stop(self) -> float:
        """End it as a kubelet does, within the pod's grace; gives how many seconds it took."""
        assert self.process is not None
        began_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(self._spec.get("terminationGracePeriodSeconds", 30))
        except psutil.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"{self.name} did not end in its grace:\n{self._end_of_log()}") from None
        assert code in (0, 1 if self.name == "nats" else 0), f"{self.name} ended with {code}:\n{self._end_of_log()}"
        return time.monotonic() - began_s

    def kill(self) -> None:
        """End it by force, with its children, if it runs."""
        if self.process is not None and self.process.poll() is None:
            for child in [*self.process.children(recursive=True), self.process]:
                child.kill()
            self.process.wait()

    def _mounts(self) -> dict[str, Path]:
        volumes = {volume["name"]: volume for volume in self._spec.get("volumes", [])}
        mounts: dict[str, Path] = {}
        for mount in self._container.get("volumeMounts", []):
            folder = self._folder / mount["name"]
            folder.mkdir(parents=True, exist_ok=True)
            mounts[mount["mountPath"]] = folder
        for mount in self._container.get("volumeMounts", []):
            for name, content in self._content(volumes.get(mount["name"], {})).items():
                text = self._listening(self._here(content, mounts))
                (self._folder / mount["name"] / name).write_text(text)
        return mounts

    def _content(self, volume: Manifest) -> Mapping[str, str]:
        if "secret" in volume:
            return self._cluster.secrets[volume["secret"]["secretName"]]
        if "configMap" in volume:
            found: Mapping[str, str] = self._cluster.config_maps[volume["configMap"]["name"]]
            return found
        return {}

    def _environment(self, mounts: Mapping[str, Path]) -> dict[str, str]:
        values: dict[str, str] = {}
        for source in self._container.get("envFrom", []):
            values |= self._cluster.secrets[source["secretRef"]["name"]]
        for variable in self._container.get("env", []):
            raw = _VARIABLE.sub(lambda found: values[found[1]], self._value(variable))
            values[variable["name"]] = self._listening(self._here(self._cluster.local(raw), mounts))
        return values

    def _value(self, variable: Manifest) -> str:
        if "valueFrom" not in variable:
            return str(variable["value"])
        source: dict[str, Any] = variable["valueFrom"]
        if "fieldRef" in source:
            assert source["fieldRef"]["fieldPath"] == "metadata.name"
            return self.name
        return self._cluster.secrets[source["secretKeyRef"]["name"]][source["secretKeyRef"]["key"]]

    def _here(self, text: str, mounts: Mapping[str, Path]) -> str:
        for path, folder in mounts.items():
            text = re.sub(rf"(?<![\w/.-]){re.escape(path)}(?=/|\"|$)|(?<=file://){re.escape(path)}", str(folder), text)
        return text

    def _listening(self, text: str) -> str:
        for port in self._container.get("ports", []):
            text = text.replace(f"0.0.0.0:{port['containerPort']}", f"127.0.0.1:{self.ports[port['name']]}")
        return text

    def _end_of_log(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])
