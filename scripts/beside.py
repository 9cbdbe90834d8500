#!/usr/bin/env python3
"""Shoal beside restic, rclone and scp: one large random file up and down, in turn, on one disk.

    cargo build --release
    scripts/beside.py [--size MIB] [--times N] [--below DIR]

Prints a table of medians. Whatever is not installed is left out (Debian: restic, rclone, openssh-server, openssh-client). restic and rclone,
encrypting, write to a local folder and use no network; scp goes through an sshd of its own on loopback, whose CPU time counts. What they
read may lie in the page cache, since they wrote it just before. None of them syncs what it wrote; every put of Shoal is synced on all
its peers, and its servers' CPU time counts.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 1 << 20


def run(command, **options):
    """Seconds by the clock and of CPU, of a command and all that it waits for."""
    before, since = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)
    took, after = time.monotonic() - since, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def same(one, two):
    subprocess.run(["cmp", one, two], check=True)


def restic(folder, source):
    environment = os.environ | {"RESTIC_PASSWORD": "beside", "RESTIC_REPOSITORY": str(folder / "repository")}
    environment["RESTIC_CACHE_DIR"] = str(folder / "cache")
    subprocess.run(["restic", "init", "-q"], check=True, env=environment)
    up = run(["restic", "backup", "-q", source], env=environment)
    down = run(["restic", "restore", "-q", "latest", "--target", folder / "back"], env=environment)
    same(source, folder / "back" / source.relative_to("/"))
    return up, down


def rclone(folder, source):
    password = subprocess.run(["rclone", "obscure", "beside"], check=True, capture_output=True, text=True).stdout.strip()
    settings = {"TYPE": "crypt", "REMOTE": str(folder / "remote"), "PASSWORD": password}
    environment = os.environ | {f"RCLONE_CONFIG_SEALED_{name}": value for name, value in settings.items()}
    environment["RCLONE_CONFIG"] = "/dev/null"
    up = run(["rclone", "copy", "-q", source, "sealed:"], env=environment)
    down = run(["rclone", "copy", "-q", f"sealed:{source.name}", folder / "back"], env=environment)
    same(source, folder / "back" / source.name)
    return up, down


def cpu_of(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # its own, and of children that have ended


def scp(folder, source):
    for name in ["host", "user"]:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    port, sshd = 22_022, shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
    shutil.copy(folder / "user.pub", folder / "authorized")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    options = ["ListenAddress=127.0.0.1", f"HostKey={folder}/host", f"AuthorizedKeysFile={folder}/authorized"]
    options += [f"PidFile={folder}/pid", "StrictModes=no", "UsePAM=no", "Subsystem=sftp internal-sftp"]
    server = subprocess.Popen([sshd, "-D", "-q", "-f", "/dev/null", "-p", str(port)] + [f"-o{option}" for option in options])
    try:
        time.sleep(1)
        client = ["scp", "-q", "-P", str(port), "-i", folder / "user", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null"]

        def copied(*command):
            before = cpu_of(server.pid)
            took, cpu = run(client + list(command), stderr=subprocess.DEVNULL)
            time.sleep(0.3)  # the session's process ends a little later
            return took, cpu + cpu_of(server.pid) - before

        up = copied(source, f"127.0.0.1:{folder}/there")
        down = copied(f"127.0.0.1:{folder}/there", folder / "back")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
    same(source, folder / "back")
    return up, down


def shoal(program, size, below, times):
    command = [program, "bench", "--start", "--only", "put,get", "--size", f"{size}MiB", "--times", str(times), "--below", below, "--json"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [line for line in map(json.loads, said.splitlines()) if line["event"] == "row"]
    return {f"{row['row']} {row['redundancy']}": (row["seconds"], row["cpu_seconds"]["all"]) for row in rows}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--size", type=int, default=1024, help="MiB of the file")
    arguments.add_argument("--times", type=int, default=3)
    arguments.add_argument("--below", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to measure")
    arguments.add_argument("--shoal", type=Path, default=Path(__file__).resolve().parent.parent / "target/release/shoal")
    given = arguments.parse_args()
    others = {"restic": (restic, ["restic"]), "rclone crypt": (rclone, ["rclone"]), "scp": (scp, ["scp", "ssh-keygen"])}
    took = {name: [] for name, (_, needs) in others.items() if all(map(shutil.which, needs))}
    with tempfile.TemporaryDirectory(dir=given.below, prefix="beside-") as folder:
        source = Path(folder).resolve() / "content"
        with source.open("wb") as file:
            for _ in range(given.size):
                file.write(os.urandom(MIB))
            os.fsync(file.fileno())
        for _ in range(given.times):
            for name in took:
                with tempfile.TemporaryDirectory(dir=folder) as own:
                    took[name].append(others[name][0](Path(own), source))
                os.sync()
    gib = given.size / 1024
    print(f"{'':14}{'UP: S':>8}{'MB/S':>7}{'CPU S/GIB':>11}{'DOWN: S':>9}{'MB/S':>7}{'CPU S/GIB':>11}")

    def line(name, up, down):
        rate = lambda seconds: given.size * MIB / 1e6 / seconds
        print(f"{name:14}{up[0]:8.2f}{rate(up[0]):7.0f}{up[1] / gib:11.1f}{down[0]:9.2f}{rate(down[0]):7.0f}{down[1] / gib:11.1f}")

    own = shoal(given.shoal, given.size, given.below, given.times)
    for kept in ["1/1", "1/3"]:
        line(f"Shoal {kept}", own[f"put {kept}"], own[f"get {kept}"])
    for name, runs in took.items():
        line(name, *[[statistics.median(run[way][what] for run in runs) for what in (0, 1)] for way in (0, 1)])


if __name__ == "__main__":
    sys.exit(main())
