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

    def forget_peak(self):
        """The most resident memory (VmHWM) is counted from here on; proc(5), clear_refs."""
        with open(f"/proc/{self.process.pid}/clear_refs", "w", encoding="utf-8") as peak:
            peak.write("5")


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


class Fixed:
    """A minimal actix-web server that answers given bytes from memory: the limit."""

    def __init__(self, folder, port, body):
        self.url, self.path = f"http://127.0.0.1:{port}", os.path.join(folder, "fixed")
        with open(self.path, "wb") as file:
            file.write(body)
        self.port, self.process = port, None

    def __enter__(self):
        program = os.path.join(PROGRAMS, "examples", "fixed_bytes")
        self.process = subprocess.Popen(["taskset", "-c", SERVER_CPU, program, str(self.port), self.path])
        wait_for(self.url + "/")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)

    cpu_seconds = Server.cpu_seconds


def wait_for(url):
    for _ in range(2000):
        try:
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            time.sleep(0.005)
    raise RuntimeError(url + " does not answer")


def against_fixed(server, folder, path, seconds, repeats, headers=()):
    """A path against the same bytes from memory, in turns: medians of both."""
    body = urllib.request.urlopen(server.url + path, timeout=30).read()
    etag = urllib.request.urlopen(server.url + path, timeout=30).headers["ETag"]
    headers = [header.replace("ETAG", etag) for header in headers]
    ours, limit = [], []
    with Fixed(folder, 18089, body) as fixed:
        for _ in range(repeats):
            limit.append(wrk(fixed, "/", seconds=seconds, headers=headers))
            ours.append(wrk(server, path, seconds=seconds, headers=headers))
    return median(ours), median(limit), len(body)


def row(name, ours, limit, extra=""):
    print(f"| {name} | {ours['rate']:.0f}/s, p50 {ours['p50']:.2f}, p99 {ours['p99']:.2f} ms, {ours['cpu']:.1f} µs CPU | "
          f"{ours['rate'] / limit['rate']:.2f} × (p99 {ours['p99'] / max(limit['p99'], 0.001):.2f} ×, "
          f"CPU {ours['cpu'] / limit['cpu']:.2f} ×){extra} |", flush=True)


def fill(url, articles, each, prefix="article"):
    say(f"  filling {articles} x {each}")
    subprocess.run([os.environ["STORAGE_BENCH"], "fill", url, str(articles), str(each), prefix], check=True,
                   stdout=subprocess.DEVNULL)


def lists(name, url, articles, seconds, repeats):
    """Lists on a database of `articles` articles with 25 comments each, and two large ones."""
    say(f"lists, {name}, {articles} articles")
    comments = "/api/v1/sites/default/comments?limit=25&article="
    with tempfile.TemporaryDirectory(dir=os.path.join(ROOT, "target", "tmp")) as folder:
        database = url or "sqlite:" + os.path.join(folder, "data", "afterword.db")
        settings = {"AFTERWORD__DATABASE__URL": database}
        with Server(folder, 18083, **settings):
            pass
        fill(database, articles, 25)
        for size in (50, 1000, 100_000):
            fill(database, 1, size, f"large-{size}")
        with Server(folder, 18083, **settings) as server:
            print(f"| {name}: start to first answer, {articles * 25 + 101_050:,} comments | {server.first_answer * 1000:.0f} ms | < 200 ms |",
                  flush=True)
            settle(server)
            server.forget_peak()
            ours, limit, size = against_fixed(server, folder, comments + "article-0", seconds, repeats)
            row(f"{name}: list of 25 ({size} bytes), 32 connections", ours, limit)
            ours, limit, _ = against_fixed(server, folder, comments + "article-0", seconds, repeats, ["If-None-Match: ETAG"])
            row(f"{name}: … 304", ours, limit)
            counts = "/api/v1/sites/default/counts?" + "&".join(f"article=article-{n}" for n in range(20))
            ours, limit, _ = against_fixed(server, folder, counts, seconds, repeats)
            row(f"{name}: counts of 20", ours, limit)
            for size in (1000, 100_000):
                flat = [median([first_pages(server, f"large-{n}-0", seconds) for _ in range(repeats)]) for n in (50, size)]
                print(f"| {name}: page of an article of {size}, uncached | {flat[1]['rate']:.0f}/s, p50 {flat[1]['p50']:.2f} ms | "
                      f"p50 {flat[1]['p50'] / flat[0]['p50']:.2f} × that of 50 |", flush=True)
            memory = server.memory("VmHWM")
        for label, megabytes in (("cache as shipped", 32), ("cache that holds them", 4096)):
            with Server(folder, 18083, AFTERWORD__CACHE__MEGABYTES=str(megabytes), **settings) as server:
                os.environ["ARTICLES"] = str(articles)
                body = urllib.request.urlopen(server.url + comments + "article-0", timeout=30).read()
                with Fixed(folder, 18089, body) as fixed:
                    if megabytes > 100:
                        for number in range(articles):
                            urllib.request.urlopen(f"{server.url}{comments}article-{number}", timeout=30).read()
                    ours = median([wrk(server, script="spread.lua", seconds=seconds) for _ in range(repeats)])
                    # The same script, because making requests costs the generator something.
                    limit = median([wrk(fixed, script="spread.lua", seconds=seconds) for _ in range(repeats)])
                row(f"{name}: lists over all {articles * 25} comments, {label}", ours, limit)
        print(f"| {name}: most resident memory while lists were read | {memory:.1f} MiB | < 96 MiB |", flush=True)


def settle(server):
    """Waits until the service has had nothing to do for eight seconds: the words of comments that were filled in come into
    their index behind everything else, and every five seconds a piece of the index is merged."""
    quiet, end = 0, time.monotonic() + 600
    while quiet < 8:
        if time.monotonic() > end:
            raise SystemExit("the service is still busy after ten minutes")
        before = server.cpu_seconds()
        time.sleep(1)
        quiet = quiet + 1 if server.cpu_seconds() - before < 0.1 else 0


def page_of_25(server, article):
    """The first page of an article as it is answered; there must be one."""
    answer = urllib.request.urlopen(f"{server.url}/api/v1/sites/default/comments?limit=25&article={article}", timeout=60)
    body = answer.read()
    if len(json.loads(body)["comments"]) != 25:
        raise SystemExit(f"{article} has no page of 25 comments")
    return body, answer.headers["ETag"]


def first_pages(server, article, seconds):
    """First pages that no cache has: another unknown parameter each time."""
    page_of_25(server, article)
    os.environ["ARTICLE"] = article
    return wrk(server, script="uncached.lua", connections=1, seconds=seconds)


def writes(options):
    """Start, rest and submissions."""
    start, rest = at_rest()
    with tempfile.TemporaryDirectory(dir=os.path.join(ROOT, "target", "tmp")) as folder:
        figures, raw, sums = submissions(folder, options.seconds, options.repeats)
    print(f"| raw SQLite, `synchronous=FULL`, 1 / 32 / 128 rows per transaction | {raw[1]:.0f} / {raw[32]:.0f} / {raw[128]:.0f} rows/s | |")
    limits = {1: raw[1], 32: raw[32], 256: raw[128]}
    for connections, figure in figures.items():
        print(f"| submissions, {connections} connections | {figure['rate']:.0f}/s, p50 {figure['p50']:.2f} ms, p99 {figure['p99']:.2f} ms, "
              f"{figure['cpu']:.0f} µs CPU | {figure['rate'] / limits[connections]:.2f} × |")
    print(f"| … acknowledged / stored / refused | {sums['answered']} / {sums['stored']} / {sum(f['refused'] for f in figures.values())} | |")
    print(f"| start to first answer | {start:.0f} ms | < 150 ms |")
    print(f"| resident memory at rest / most after the submissions | {rest:.1f} / {sums['most']:.1f} MiB | < 25 / < 96 MiB |")
    print(f"| program | {os.path.getsize(os.path.join(PROGRAMS, 'afterword')) / 2**20:.1f} MiB | < 25 MiB |")


def main():
    # Whoever stops it must not find its servers still running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=int, default=5, help="how long each run of wrk lasts")
    options.add_argument("--repeats", type=int, default=3, help="runs of each figure; the median is shown")
    options.add_argument("--articles", type=int, nargs="*", default=[100, 4000, 40000], help="sizes of the databases")
    options.add_argument("--only", choices=["writes", "mixed", "lists", "postgres", "instructions"], help="one part of it")
    options.add_argument("--on", choices=["sqlite", "postgres"], nargs="*", default=["sqlite", "postgres"], help="where lists lie")
    options = options.parse_args()
    os.makedirs(os.path.join(ROOT, "target", "tmp"), exist_ok=True)
    print("| figure | value | against its limit |\n|---|---|---|")
    if options.only in (None, "writes"):
        writes(options)
    if options.only in (None, "mixed"):
        from mixed import mixed  # It uses this file, so it comes second.
        mixed(options)
    if options.only in (None, "postgres"):
        from postgres import postgres
        postgres(options)
    if options.only == "instructions":
        from instructions import instructions
        instructions()
    if options.only in (None, "lists"):
        for articles in options.articles:
            if "sqlite" in options.on:
                lists("SQLite", None, articles, options.seconds, options.repeats)
            if "postgres" in options.on:
                from postgres import Cluster
                with Cluster() as cluster:
                    cluster.psql("CREATE DATABASE afterword")
                    lists("PostgreSQL", cluster.url("afterword"), articles, options.seconds, options.repeats)


if __name__ == "__main__":
    main()
