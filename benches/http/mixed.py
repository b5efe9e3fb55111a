"""Reads beside writes: 64 connections, nine lists for each comment or decision on the same articles, against lists alone.
Beside it somebody approves comments and reads the list at once: it must never be older than the answer. Called by bench.py."""

import json
import os
import tempfile
import threading
import urllib.request
import uuid

from bench import ROOT, Server, fill, median, say, wrk

LISTS = "/api/v1/sites/default/comments"


def ask(server, path, body=None, token=None):
    """The answer to a request as JSON; a body makes it a POST."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(server.url + path, data, headers), timeout=30) as answer:
        return json.load(answer)


class Moderator(threading.Thread):
    """Sends a comment, reads its article, approves, reads again; counts how often the second list did not have it."""

    def __init__(self, server, token):
        super().__init__()
        self.server, self.token, self.stop = server, token, threading.Event()
        self.decisions, self.old, self.whole = 0, 0, False

    def run(self):
        while not self.stop.is_set():
            text = f"Decision {uuid.uuid4()} is read at once."
            article = f"article-{self.decisions % 100}"
            sent = {"article": article, "name": "Ada", "email": "ada@example.org", "body": text}
            comment = ask(self.server, LISTS, sent)["comment"]["id"]
            path = f"{LISTS}?limit=25&sort=newest&article={article}"
            ask(self.server, path)
            ask(self.server, f"/api/v1/moderation/comments/{comment}/approve", {}, self.token)
            ids = [one["id"] for one in ask(self.server, path)["comments"]]
            self.decisions += 1
            self.old += comment not in ids
        self.whole = True


def mixed(options):
    """One database of 100 articles, lists alone and lists beside writes in turns."""
    say("reads beside writes")
    alone, beside, decisions = [], [], 0
    with tempfile.TemporaryDirectory(dir=os.path.join(ROOT, "target", "tmp")) as folder:
        database = "sqlite:" + os.path.join(folder, "data", "afterword.db")
        with Server(folder, 18086) as server:
            server.command("account", "add", "--email", "moderator@example.org", "--role", "admin")
            token = os.environ["TOKEN"] = server.command("token", "create", "--account", "moderator@example.org", "--name", "bench")
        fill(database, 100, 25)
        with Server(folder, 18086, AFTERWORD__DATABASE__URL=database) as server:
            os.environ["ARTICLES"] = "100"
            for _ in range(options.repeats):
                os.environ["WRITES"] = "0"
                alone.append(wrk(server, connections=64, seconds=options.seconds, script="mixed.lua"))
                os.environ["WRITES"] = "0.1"
                moderator = Moderator(server, token)
                moderator.start()
                beside.append(wrk(server, connections=64, seconds=options.seconds, script="mixed.lua"))
                moderator.stop.set()
                moderator.join()
                if moderator.old or not moderator.whole:
                    raise SystemExit(f"{moderator.old} of {moderator.decisions} lists were older than a decision that was answered")
                decisions += moderator.decisions
    limit, ours = median(alone), median(beside)
    print(f"| 90 % lists, 5 % comments, 5 % decisions, 64 connections | {ours['rate']:.0f}/s, p99 {ours['p99']:.2f} ms, {ours['cpu']:.0f} µs CPU, "
          f"{ours['refused']:.0f} refused | {ours['rate'] / limit['rate']:.2f} × lists alone ({limit['rate']:.0f}/s, {limit['cpu']:.0f} µs CPU) |\n"
          f"| … lists read right after a decision that were older than it | 0 of {decisions} | 0 |", flush=True)
