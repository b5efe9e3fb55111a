"""Submissions on PostgreSQL: the service against `pgbench` on the same server, a cluster of its own with the settings that
PostgreSQL ships (fsync and synchronous_commit on). Nothing is pinned: server, service and load share the machine in both
cases. Ratios within one run count. Called by bench.py."""

import contextlib
import glob
import os
import pwd
import shutil
import subprocess
import tempfile
import time

from bench import ROOT, Server, median, say, wrk

# One row of the size of a comment, with a primary key and one more index: a transaction of its own each.
TABLE = ("CREATE TABLE single (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, article int, name text, email text, "
         "body text, at timestamptz DEFAULT now()); CREATE INDEX ON single (article, at)")
INSERT = ("\\set article random(0, 99)\n"
          "INSERT INTO single (article, name, email, body) VALUES (:article, 'Reader', 'reader@example.org', repeat('x', 400));\n")


class Cluster:
    """PostgreSQL as installed, in a folder of its own, ended with it."""

    def __init__(self):
        self.bin = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.folder = tempfile.mkdtemp(dir="/var/tmp")
        self.user = "postgres" if os.getuid() == 0 else None

    def run(self, *command, **options):
        account = {}
        if self.user:
            entry = pwd.getpwnam(self.user)
            account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        command = [os.path.join(self.bin, command[0]), *command[1:]]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd="/", **account, **options).stdout

    def __enter__(self):
        if self.user:
            shutil.chown(self.folder, self.user)
        data = os.path.join(self.folder, "data")
        self.run("initdb", "-A", "trust", "-U", "afterword", "-E", "UTF8", "-D", data)
        log = os.path.join(self.folder, "log")
        self.run("pg_ctl", "start", "-w", "-D", data, "-l", log, "-o", f"-c listen_addresses= -k {self.folder}")
        return self

    def __exit__(self, *_):
        self.run("pg_ctl", "stop", "-w", "-m", "fast", "-D", os.path.join(self.folder, "data"))
        shutil.rmtree(self.folder)

    def psql(self, sql, database="postgres"):
        return self.run("psql", "-h", self.folder, "-U", "afterword", "-d", database, "-Atc", sql).strip()

    def url(self, database):
        return f"postgres:///{database}?host={self.folder}&user=afterword"


def pgbench(cluster, seconds):
    script = os.path.join(cluster.folder, "insert.sql")
    with open(script, "w", encoding="utf-8") as file:
        file.write(INSERT)
    os.chmod(script, 0o644)
    out = cluster.run("pgbench", "-n", "-h", cluster.folder, "-U", "afterword", "-c", "32", "-j", "2", "-M", "prepared",
                      "-T", str(seconds), "-f", script, "postgres")
    return float(next(line for line in out.splitlines() if line.startswith("tps")).split("=")[1].split()[0])


def together(servers, seconds):
    """The load of 32 connections, shared among instances at the same time."""
    each = 32 // len(servers)
    command = [["wrk", "-t1", f"-c{each}", f"-d{seconds}s", "-s", os.path.join(ROOT, "benches", "http", "submit.lua"), server.url]
               for server in servers]
    running = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for line in command]
    outs = [process.communicate()[0] for process in running]
    return sum(float(out.split("Requests/sec:")[1].split()[0]) for out in outs)


def postgres(options):
    """One hundred articles, one hot article, and two instances, in turns with pgbench."""
    say("submissions on PostgreSQL")
    limits, rates = [], {"100 articles": [], "1 hot article": [], "100 articles, two instances": []}
    with Cluster() as cluster, contextlib.ExitStack() as stack:
        cluster.psql(TABLE)
        cluster.psql("CREATE DATABASE afterword")
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=os.path.join(ROOT, "target", "tmp")))
        settings = {"AFTERWORD__DATABASE__URL": cluster.url("afterword")}
        one, other = [stack.enter_context(Server(folder, port, **settings)) for port in (18084, 18085)]
        one.command("account", "add", "--email", "moderator@example.org", "--role", "admin")
        for server in (one, other):
            # It is the machine that is shared, not one CPU of it.
            subprocess.run(["taskset", "-a", "-p", "-c", "0-1", str(server.process.pid)], check=True, capture_output=True)
        for _ in range(options.repeats):
            limits.append(pgbench(cluster, options.seconds))
            for name, servers in (("100 articles", [one]), ("1 hot article", [one]), ("100 articles, two instances", [one, other])):
                os.environ["ARTICLES"] = "1" if "hot" in name else "100"
                rates[name].append(together(servers, options.seconds))
                say(f"  {name}: {rates[name][-1]:.0f}/s, pgbench {limits[-1]:.0f}/s")
        time.sleep(1)
        stored = int(cluster.psql("SELECT count(*) FROM comments", "afterword"))
        size = int(cluster.psql("SELECT pg_database_size('afterword')", "afterword"))
    limit = median([{"rate": rate} for rate in limits])["rate"]
    print(f"| PostgreSQL: `pgbench`, 32 clients, one `INSERT` per transaction | {limit:.0f}/s | |")
    for name, runs in rates.items():
        rate = median([{"rate": rate} for rate in runs])["rate"]
        print(f"| PostgreSQL: submissions, 32 connections, {name} | {rate:.0f}/s | {rate / limit:.2f} × |")
    print(f"| PostgreSQL: stored comments, bytes of the database for each | {stored}, {size / max(stored, 1):.0f} | |", flush=True)
