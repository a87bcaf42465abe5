"""`SignedZones`: a small DNS with DNSSEC: real signed zones in NSD, and Unbound, which validates them.

Both are child processes on loopback ports of their own, with their files in a directory of their own, and nothing of it
is left when it is closed. There is a root zone of its own, which delegates all others; its key is what Unbound trusts.
"""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import dns.dnssec
import dns.dnssectypes
import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataset
import dns.rdatatype
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from moxlib.dns import DNSResolver

PATIENCE = 30.0  # seconds; only ends what hangs
ATTEMPTS = 3  # to start with a port that nobody else takes meanwhile
HOUR = 3600

NSD = """
server:
    ip-address: 127.0.0.1@{port}
    do-ip6: no
    username: ""
    chroot: ""
    server-count: 1
    database: ""
    pidfile: ""
    zonesdir: "{directory}"
    xfrdfile: "{directory}/xfrd.state"
    xfrdir: "{directory}"
    zonelistfile: "{directory}/zone.list"
remote-control:
    control-enable: no
"""

UNBOUND = """
server:
    interface: 127.0.0.1
    port: {port}
    do-ip6: no
    do-daemonize: no
    username: ""
    chroot: ""
    directory: "{directory}"
    pidfile: ""
    use-syslog: no
    logfile: ""
    num-threads: 1
    do-not-query-localhost: no
    module-config: "validator iterator"
    trust-anchor-file: "{directory}/root.key"
    trust-anchor-signaling: no
    val-log-level: 2
    ede: yes
remote-control:
    control-enable: no
"""


class ProgramMissingError(Exception):
    """NSD or Unbound is not installed here."""


class SignedZones:
    """Serves zones between `with` and its end.

    Args:
        records: rdata as in a zone file, for each `"type name"`, such as `{"mx example.com": ["10 mx.example.com."]}`.
            Each is in the zone with the longest name that fits.
        signed: names of zones that are signed.
        unsigned: of zones that are not, as the root zone proves.
        expired: of zones that are signed, but no longer validly.
        tampered: `"type name"` of records whose signatures are changed.

    Attributes:
        port: where Unbound answers, on 127.0.0.1.

    Raises:
        ProgramMissingError: NSD or Unbound is not installed here.
    """

    def __init__(
        self,
        records: Mapping[str, Sequence[str]],
        *,
        signed: Collection[str] = (),
        unsigned: Collection[str] = (),
        expired: Collection[str] = (),
        tampered: Collection[str] = (),
    ) -> None:
        self._programs = {name: _program(name) for name in ("nsd", "unbound")}
        self._records = records
        self._signed = {*signed, *expired}
        self._expired = set(expired)
        self._names = [*self._signed, *unsigned]
        self._tampered = set(tampered)
        self._directory = Path(tempfile.mkdtemp(prefix="moxlib-dnssec-")).resolve()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.port = 0
        atexit.register(self.close)

    def __enter__(self) -> Self:
        try:
            self._write_zones()
            zones = "".join(
                f'zone:\n    name: "{name}."\n    zonefile: "{_file(name)}"\n' for name in ("", *self._names)
            )
            served = self._start("nsd", NSD, zones, "-d", "-c")
            # Each zone has its address here: a delegation can name no port.
            stubs = "".join(
                f'stub-zone:\n    name: "{name}."\n    stub-addr: 127.0.0.1@{served}\n' for name in ("", *self._names)
            )
            self.port = self._start("unbound", UNBOUND, stubs, "-d", "-c")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def resolver(self, **options: Any) -> DNSResolver:
        """Return a resolver that asks Unbound."""
        return DNSResolver(["127.0.0.1"], port=self.port, **options)

    def close(self) -> None:
        """Stop both programs and remove all that they had."""
        atexit.unregister(self.close)
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        shutil.rmtree(self._directory, ignore_errors=True)

    # zones

    def _write_zones(self) -> None:
        delegations: list[str] = []
        for name in self._names:
            delegations.append(f"{name}. 300 IN NS ns.invalid.")
            zone = self._zone(name, [where for where in self._records if self._home(where) == name])
            if name in self._signed:
                key = self._sign(zone, expired=name in self._expired)
                delegations.append(f"{name}. 300 IN DS {dns.dnssec.make_ds(f'{name}.', key, 'SHA256')}")
            zone.to_file(str(self._directory / _file(name)), relativize=False)
        root = self._zone("", [where for where in self._records if self._home(where) == ""], delegations)
        key = self._sign(root, expired=False)
        root.to_file(str(self._directory / _file("")), relativize=False)
        anchor = dns.dnssec.make_ds(dns.name.root, key, "SHA256")
        (self._directory / "root.key").write_text(f". IN DS {anchor}\n", encoding="ascii")

    def _home(self, where: str) -> str:
        name = where.split(" ")[1]
        return max((each for each in self._names if f".{name}".endswith(f".{each}")), key=len, default="")

    def _zone(self, origin: str, wheres: Sequence[str], more: Sequence[str] = ()) -> dns.zone.Zone:
        lines = [
            f"{origin}. 300 IN SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 60",
            f"{origin}. 300 IN NS ns.invalid.",
        ]
        for where in wheres:
            kind, name = where.split(" ")
            lines += [f"{name}. 300 IN {kind.upper()} {record}" for record in self._records[where]]
        return dns.zone.from_text("\n".join([*lines, *more]), f"{origin}.", relativize=False)

    def _sign(self, zone: dns.zone.Zone, *, expired: bool) -> Any:
        """Sign a zone with a new key and return its DNSKEY record."""
        private = ec.generate_private_key(ec.SECP256R1())
        algorithm = dns.dnssectypes.Algorithm.ECDSAP256SHA256
        key = dns.dnssec.make_dnskey(private.public_key(), algorithm, flags=257)
        now = int(time.time())  # the same clock that Unbound has
        begin, end = (now - 48 * HOUR, now - 24 * HOUR) if expired else (now - HOUR, now + 24 * HOUR)
        dns.dnssec.sign_zone(zone, keys=[(private, key)], inception=begin, expiration=end)
        for where in self._tampered:
            kind, name = where.split(" ")
            covers = dns.rdatatype.from_text(kind)
            signatures = zone.get_rdataset(f"{name}.", dns.rdatatype.RRSIG, covers)
            if signatures is not None:
                [signature] = signatures
                changed = signature.replace(signature=signature.signature[::-1])
                zone.replace_rdataset(f"{name}.", dns.rdataset.from_rdata(signatures.ttl, changed))
        return key

    # programs

    def _start(self, program: str, head: str, zones: str, *arguments: str) -> int:
        """Start a program and return the port it answers on."""
        config = self._directory / f"{program}.conf"
        log = self._directory / f"{program}.log"
        for _ in range(ATTEMPTS):
            port = _free_port()
            config.write_text(head.format(port=port, directory=self._directory) + zones, encoding="ascii")
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [self._programs[program], *arguments, str(config)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self._directory,
                    start_new_session=True,  # a terminal's Ctrl-C is for the tests
                )
            self._processes.append(process)
            if _answers(process, port):
                return port
            self._processes.remove(process)
        raise RuntimeError(f"{program} did not start:\n{log.read_text(encoding='utf-8', errors='backslashreplace')}")


def _program(name: str) -> str:
    # Debian has both where only root looks.
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
    if path is None:
        raise ProgramMissingError(f"{name} is not installed")
    return path


def _file(name: str) -> str:
    return f"{name or 'root'}.zone"


def _free_port() -> int:
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the program answers, or has ended."""
    deadline = time.monotonic() + PATIENCE
    query = dns.message.make_query(".", "SOA")
    while time.monotonic() < deadline:
        try:
            if dns.query.tcp(query, "127.0.0.1", port=port, timeout=PATIENCE).rcode() == dns.rcode.NOERROR:
                return True
        except (OSError, EOFError, dns.exception.DNSException):
            pass
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        return False
    process.kill()
    process.wait()
    return False
