"""How many instructions a reader's request costs outside of the kernel, counted by callgrind, because on a busy machine times mean
nothing. Ratios to the server of fixed bytes, and of long articles to short ones. All threads are counted, so there is nothing about
submissions here: how much of the work behind them lies in the counted time depends on the machine. A processor of callgrind has no
instructions for SHA-256, so what is hashed counts about ten times too much.

Needs valgrind. Called by `scripts/bench --only instructions`."""

import os
import re
import socket
import subprocess
import tempfile
import time
import urllib.request

from bench import PROGRAMS, ROOT, Server, fill, page_of_25, say, settle

PORT, WARM, COUNTED = 18401, 200, 1000
LISTS = "/api/v1/sites/default/comments?limit=25&article="


class Counted(Server):
    """A program whose instructions are counted when it is told to."""

    def __init__(self, folder, command, ready="/healthz"):
        super().__init__(folder, PORT)
        self.arguments, self.ready = command, ready

    def __enter__(self):
        log = open(os.path.join(self.folder, "service.log"), "a", encoding="utf-8")
        counter = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={self.folder}/counted"]
        self.process = subprocess.Popen(counter + self.arguments, cwd=self.folder, env=self.env, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < end:
            try:
                urllib.request.urlopen(self.url + self.ready, timeout=2).read()
                return self
            except OSError:
                time.sleep(0.1)
        self.process.terminate()
        self.process.wait(30)
        raise RuntimeError("the program did not start: " + open(log.name, encoding="utf-8").read())

    def count(self, request):
        """Counts some requests, after others that warm everything up; `request` makes the bytes of each from its number."""
        with socket.create_connection(("127.0.0.1", PORT), timeout=60) as connection:
            for number in range(WARM):
                answer(connection, request(number))
            self.switch("on")
            for number in range(COUNTED):
                answer(connection, request(WARM + number))
            self.switch("off")

    def switch(self, to):
        subprocess.run(["callgrind_control", "-i", to, str(self.process.pid)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def per_request(self):
        """To be asked when the program has ended."""
        with open(os.path.join(self.folder, "counted"), encoding="utf-8") as counted:
            return int(re.search(r"^totals: (\d+)", counted.read(), re.M).group(1)) / COUNTED


def answer(connection, request):
    """Sends a request and reads its answer whole."""
    connection.sendall(request)
    got = b""
    while b"\r\n\r\n" not in got:
        got += received(connection)
    head, _, body = got.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.I)
    missing = (int(length.group(1)) if length and b" 304 " not in head else 0) - len(body)
    while missing > 0:
        missing -= len(received(connection))
    if head.split(b" ")[1] not in (b"200", b"304"):
        raise SystemExit(head.decode())


def received(connection):
    """What has come; the other side must not have gone."""
    got = connection.recv(65536)
    if not got:
        raise SystemExit("the program closed the connection")
    return got


def get(path, header=""):
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n{header}\r\n".encode()


def measured(command, request, ready="/healthz", prepare=None):
    """Instructions per request of a program that was started for this alone."""
    with tempfile.TemporaryDirectory(dir=os.path.join(ROOT, "target", "tmp")) as folder:
        with Counted(folder, command, ready) as counted:
            if prepare:
                prepare(counted)
            counted.count(request)
        return counted.per_request()


def ours(request, prepare=None):
    return measured([os.path.join(PROGRAMS, "afterword"), "serve"], request, prepare=prepare)


def article(size, seen=None):
    """Fills one article and waits until the words are in the index: that is nobody's request. `seen` gets its first page."""
    def prepare(server):
        fill("sqlite:" + os.path.join(server.folder, "data", "afterword.db"), 1, size, f"large-{size}")
        settle(server)
        page = page_of_25(server, f"large-{size}-0")
        if seen is not None:
            seen.extend(page)
    return prepare


def page_of(size):
    say(f"  pages of an article of {size}")
    return ours(lambda number: get(f"{LISTS}large-{size}-0&n={number}"), article(size))


def ready_lists(row):
    """A list that lies ready, and a 304, against the same bytes from memory."""
    path, page = LISTS + "large-25-0", []
    hot = ours(lambda _: get(path), article(25, page))
    known = []
    unchanged = ours(lambda _: get(path, f"If-None-Match: {known[1]}\r\n"), article(25, known))
    with tempfile.NamedTemporaryFile(dir=os.path.join(ROOT, "target", "tmp")) as body:
        body.write(page[0])
        body.flush()
        fixed = [os.path.join(PROGRAMS, "examples", "fixed_bytes"), str(PORT), body.name]
        limit = measured(fixed, lambda _: get(path), "/")
        limit_unchanged = measured(fixed, lambda _: get(path, f"If-None-Match: {known[1]}\r\n"), "/")
    print(row.format(f"list of 25 ({len(page[0])} bytes), ready", hot, f"{hot / limit:.2f} × fixed bytes"), flush=True)
    print(row.format("… 304", unchanged, f"{unchanged / limit_unchanged:.2f} × fixed bytes"), flush=True)


def instructions():
    say("instructions")
    row = "| {} | {:,.0f} instructions | {} |"
    ready_lists(row)
    short = page_of(50)
    print(row.format("first page of 50 comments, uncached", short, ""), flush=True)
    for size in (1000, 100_000):
        long = page_of(size)
        print(row.format(f"first page of {size:,} comments, uncached", long, f"{long / short:.2f} × that of 50"), flush=True)
