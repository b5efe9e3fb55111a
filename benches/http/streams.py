"""Thousands of readers with an article open, and a decision each second: does every event arrive once on each stream, in
order, what does a stream cost, and what do lists take meanwhile? `scripts/bench --only streams`.

--streams N    open streams (5000)    --seconds N    for so long a comment is published each second (20)
Uses SQLite in a folder of its own; everything is over after a few minutes at the latest.
"""
import argparse
import asyncio
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.abspath(os.environ.get("AFTERWORD", os.path.join(ROOT, "target", "release", "afterword")))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def call(url, method, path, body=None, token=None):
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers, method=method), timeout=30) as answer:
        return json.load(answer)


async def listen(port, heard, opened):
    """One stream: notes each event with its time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
    writer.write(b"GET /api/v1/sites/default/stream?article=/a HTTP/1.1\r\nHost: x\r\n\r\n")
    status = await reader.readline()
    assert b" 200 " in status, status
    opened.append(writer)
    while line := await reader.readline():
        if line.startswith(b"data: {"):
            # The comment's id stands at the beginning of the data.
            heard.append((line[13:49], time.monotonic()))


async def ask(port, times, stop):
    """Asks for the list again and again, ten times a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not stop.is_set():
        begun = time.monotonic()
        writer.write(b"GET /api/v1/sites/default/comments?article=/a HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        times.append(time.monotonic() - begun)
        await asyncio.sleep(0.1)
    writer.close()


async def run(options, url, port, child, token):
    before = resident_kib(child.pid)
    heard, opened, tasks = [[] for _ in range(options.streams)], [], []
    for first in range(0, options.streams, 200):
        tasks += [asyncio.create_task(listen(port, mine, opened)) for mine in heard[first:first + 200]]
        deadline = time.monotonic() + 60
        while len(opened) < len(tasks):
            assert time.monotonic() < deadline, f"{len(opened)} of {len(tasks)} streams are open"
            assert not any(task.done() for task in tasks), "a stream ended"
            await asyncio.sleep(0.01)
    after = resident_kib(child.pid)
    times, stop, sent = [], asyncio.Event(), []
    asking = asyncio.create_task(ask(port, times, stop))

    def publish(n):
        comment = {"article": "/a", "name": "Ada", "email": "ada@example.org", "body": f"Comment number {n}"}
        held = call(url, "POST", "/api/v1/sites/default/comments", comment)["comment"]["id"]
        begun = time.monotonic()
        call(url, "POST", f"/api/v1/moderation/comments/{held}/approve", token=token)
        return held.encode(), begun

    for n in range(options.seconds):
        begun = time.monotonic()
        sent.append(await asyncio.to_thread(publish, n))
        await asyncio.sleep(max(0, 1 - (time.monotonic() - begun)))
    deadline = time.monotonic() + 30
    while any(len(mine) < len(sent) for mine in heard) and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    stop.set()
    await asking
    busy = resident_kib(child.pid)
    wanted = [one for one, _ in sent]
    right = sum([one for one, _ in mine] == wanted for mine in heard)
    delays = sorted(at - sent[place][1] for mine in heard for place, (_, at) in enumerate(mine[:len(sent)]))
    times.sort()

    def share(values, part):
        return values[min(len(values) - 1, int(len(values) * part))] * 1000 if values else float("nan")

    print(f"streams with every event once and in order: {right} of {options.streams} ({len(sent)} events)")
    print(f"memory per stream: {(after - before) / options.streams:.1f} KiB open, {(busy - before) / options.streams:.1f} KiB after the events")
    print(f"from the decision to the listener: p50 {share(delays, .5):.0f} ms, p99 {share(delays, .99):.0f} ms (the listeners are one Python process)")
    print(f"lists meanwhile: p50 {share(times, .5):.1f} ms, p99 {share(times, .99):.1f} ms of {len(times)} (asked by the same process)")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for writer in opened:
        writer.close()
    return right == options.streams


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=5000)
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = options.streams + 512
    assert hard == resource.RLIM_INFINITY or hard >= needed, f"ulimit -Hn is {hard}; {needed} are needed"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    folder, port = tempfile.mkdtemp(prefix="afterword-streams-"), free_port()
    url = f"http://127.0.0.1:{port}"
    env = dict(os.environ, AFTERWORD__SERVER__LISTEN=f"127.0.0.1:{port}", AFTERWORD__LIMITS__ENABLED="false",
               AFTERWORD__LIMITS__READER_STREAMS=str(options.streams), AFTERWORD__LOG__LEVEL="error",
               AFTERWORD__LIMITS__READER_STREAMS_PER_ADDRESS=str(options.streams))

    def command(*arguments):
        done = subprocess.run([PROGRAM, *arguments], cwd=folder, env=env, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    command("account", "add", "--email", "mod@example.org", "--role", "admin")
    token = command("token", "create", "--account", "mod@example.org", "--name", "bench")
    child = subprocess.Popen([PROGRAM, "serve"], cwd=folder, env=env)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(url + "/healthz", timeout=1).read()
                break
            except OSError:
                time.sleep(0.1)
        well = asyncio.run(run(options, url, port, child, token))
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(0 if well else 1)


main()
