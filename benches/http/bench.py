"""Measures the built service over HTTP: server and load generator (wrk) pinned to one CPU each, limits measured in the
same run. Ratios within one run count; absolute numbers do not, because machines differ and are shared.

Called by scripts/bench. Writes its table as Markdown to standard output, progress to standard error."""

import argparse
import json
import os
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = os.path.join(ROOT, "target", "release")
SERVER_CPU, CLIENT_CPU = "0", "1"
TICK = os.sysconf("SC_CLK_TCK")
# The rings stay on the path, but so wide that they refuse nothing.
WIDE = {"BURST": "4000000000", "SECONDS": "0.001"}
RINGS = ["ADDRESS", "NETWORK", "ARTICLE", "SITE", "ALL", "EMAIL", "INVALID"]


def say(text):
    print(text, file=sys.stderr, flush=True)


class Server:
    """The service in a folder of its own, pinned to the server's CPU."""

    def __init__(self, folder, port, **settings):
        self.folder, self.url = folder, f"http://127.0.0.1:{port}"
        self.env = dict(os.environ, AFTERWORD__SERVER__LISTEN=f"127.0.0.1:{port}",
                        AFTERWORD__SERVER__TRUSTED_PROXIES="127.0.0.1", AFTERWORD__SERVER__WORKERS="1")
        for ring in RINGS:
            for key, value in WIDE.items():
                self.env[f"AFTERWORD__LIMITS__{ring}__{key}"] = value
        self.env.update(settings)
        self.process = None

    def __enter__(self):
        begun = time.monotonic()
        log = open(os.path.join(self.folder, "service.log"), "a", encoding="utf-8")
        self.process = subprocess.Popen(["taskset", "-c", SERVER_CPU, os.path.join(PROGRAMS, "afterword"), "serve"],
                                        cwd=self.folder, env=self.env, stdout=log, stderr=log)
        while True:
            try:
                urllib.request.urlopen(self.url + "/healthz", timeout=1).read()
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() - begun > 20:
                    raise RuntimeError("the service did not start: " + open(log.name, encoding="utf-8").read())
                time.sleep(0.0005)
        self.first_answer = time.monotonic() - begun
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def command(self, *arguments):
        """Runs a command of the service on this one's database."""
        return subprocess.run([os.path.join(PROGRAMS, "afterword"), *arguments], cwd=self.folder, env=self.env,
                              check=True, capture_output=True, text=True).stdout.strip()

    def cpu_seconds(self):
        fields = open(f"/proc/{self.process.pid}/stat", encoding="utf-8").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self, key="VmRSS"):
        """Resident memory in MiB."""
        status = open(f"/proc/{self.process.pid}/status", encoding="utf-8").read()
        return int(re.search(rf"{key}:\s+(\d+) kB", status).group(1)) / 1024


def wrk(server, path="/", connections=32, seconds=5, script=None, headers=()):
    """One run of wrk. Rate per second, latencies in milliseconds, the server's CPU in microseconds per request."""
    command = ["taskset", "-c", CLIENT_CPU, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for header in headers:
        command += ["-H", header]
    if script:
        command += ["-s", os.path.join(ROOT, "benches", "http", script)]
    before = server.cpu_seconds()
    out = subprocess.run(command + [server.url + path], check=True, capture_output=True, text=True).stdout
    used = server.cpu_seconds() - before
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", out)

    def latency(share):
        value, unit = re.search(rf"{share}%\s+([\d.]+)(us|ms|s)\b", out).groups()
        return float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]

    return {"rate": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), "p50": latency(50),
            "p99": latency(99), "cpu": used / max(requests, 1) * 1e6, "requests": requests,
            "refused": int(refused.group(1)) if refused else 0}


def median(runs):
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def raw_sqlite(folder):
    """Rows per second of SQLite itself on this disk, `synchronous=FULL`, by rows per transaction."""
    out = subprocess.run(["taskset", "-c", SERVER_CPU, os.environ["STORAGE_BENCH"], "raw", folder], check=True,
                         capture_output=True, text=True).stdout
    return {int(batch): float(rate) for batch, rate in re.findall(r"(\d+) rows per transaction\s+(\d+)", out)}


def submissions(folder, seconds, repeats):
    """Durable submissions over HTTP against the raw limit measured before and after."""
    say("submissions")
    before = raw_sqlite(folder)
    figures = {}
    with Server(folder, 18081) as server:
        server.command("account", "add", "--email", "moderator@example.org", "--role", "admin")
        # wrk ends while up to one request per connection is on its way: those rows are stored without a counted answer.
        for connections in (1, 32, 256):
            runs = [wrk(server, connections=connections, seconds=seconds, script="submit.lua") for _ in range(repeats)]
            figures[connections] = dict(median(runs), answered=sum(run["requests"] - run["refused"] for run in runs),
                                        refused=sum(run["refused"] for run in runs))
            say(f"  {connections} connections: {figures[connections]['rate']:.0f}/s")
        most = server.memory("VmHWM")
    stored = sqlite3.connect(os.path.join(folder, "data", "afterword.db")).execute(
        "SELECT count(*) FROM comments").fetchone()[0]
    answered = sum(figure["answered"] for figure in figures.values())
    if stored < answered:
        raise SystemExit(f"{answered} comments were acknowledged and {stored} are stored")
    after = raw_sqlite(folder)
    raw = {batch: (before[batch] + after[batch]) / 2 for batch in before}
    return figures, raw, {"stored": stored, "answered": answered, "most": most}


def at_rest():
    """Start to first answer in milliseconds (database there already), and MiB at rest."""
    say("start and rest")
    with tempfile.TemporaryDirectory(dir=os.path.join(ROOT, "target", "tmp")) as folder:
        with Server(folder, 18082):
            pass
        starts, memory = [], []
        for _ in range(5):
            with Server(folder, 18082) as server:
                starts.append(server.first_answer * 1000)
                time.sleep(1)
                memory.append(server.memory())
    return statistics.median(starts), statistics.median(memory)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=int, default=5, help="how long each run of wrk lasts")
    options.add_argument("--repeats", type=int, default=3, help="runs of each figure; the median is shown")
    options = options.parse_args()
    os.makedirs(os.path.join(ROOT, "target", "tmp"), exist_ok=True)
    start, rest = at_rest()
    with tempfile.TemporaryDirectory(dir=os.path.join(ROOT, "target", "tmp")) as folder:
        figures, raw, sums = submissions(folder, options.seconds, options.repeats)
    print("| figure | value | against its limit |\n|---|---|---|")
    print(f"| raw SQLite, `synchronous=FULL`, 1 / 32 / 128 rows per transaction | {raw[1]:.0f} / {raw[32]:.0f} / {raw[128]:.0f} rows/s | |")
    limits = {1: raw[1], 32: raw[32], 256: raw[128]}
    for connections, figure in figures.items():
        print(f"| submissions, {connections} connections | {figure['rate']:.0f}/s, p50 {figure['p50']:.2f} ms, p99 {figure['p99']:.2f} ms, "
              f"{figure['cpu']:.0f} µs CPU | {figure['rate'] / limits[connections]:.2f} × |")
    print(f"| … acknowledged / stored / refused | {sums['answered']} / {sums['stored']} / {sum(f['refused'] for f in figures.values())} | |")
    print(f"| start to first answer | {start:.0f} ms | < 150 ms |")
    print(f"| resident memory at rest / most after the submissions | {rest:.1f} / {sums['most']:.1f} MiB | < 25 / < 96 MiB |")
    print(f"| program | {os.path.getsize(os.path.join(PROGRAMS, 'afterword')) / 2**20:.1f} MiB | < 25 MiB |")


if __name__ == "__main__":
    main()
