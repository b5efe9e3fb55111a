"""An independent SMTP server (aiosmtpd) for the tests, with faults on demand.

Reads commands from standard input, one a line:
  ok              take mail again
  fail 451 DATA   answer the next command of this verb with this code, once
  refuse 550 RCPT answer every command of this verb with this code
  refuse 550_5.1.1 RCPT   the same with an enhanced status code
  hold BODY       answer this verb only when the next command came
  hang DATA       never answer this verb (CONNECT, EHLO, MAIL, RCPT, DATA, BODY)
  drop BODY       take the mail, then close the connection without an answer
  sync            nothing; its line comes after those of all mails before
Writes JSON lines: {"port": n} at the start, {"done": command}, and one for each mail that was taken, parsed by Python's own
e-mail parser.
"""

import asyncio
import email
import email.policy
import json
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

mode = {"kind": "ok"}


def say(**values):
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


async def fault(server, verb):
    kind, where = mode["kind"], mode.get("verb")
    if where != verb:
        return None
    if kind == "hang":
        await asyncio.sleep(3600)
    while mode["kind"] == "hold":
        await asyncio.sleep(0.01)
    if kind == "drop":
        server.transport.abort()
        return "421 dropped"
    if kind in ("fail", "refuse"):
        if kind == "fail":
            mode["kind"] = "ok"
        return f"{mode['code']} <{'user@example.net'}> not now"
    return None


class Faulty(SMTP):
    async def push(self, status):
        # The greeting, which aiosmtpd leaves to nobody.
        if status.startswith("220 ") and mode["kind"] == "refuse" and mode.get("verb") == "CONNECT":
            await super().push(f"{mode['code']} no service here")
            self.transport.close()
            return
        await super().push(status)

    async def _handle_client(self):
        if mode["kind"] == "hang" and mode.get("verb") == "CONNECT":
            await asyncio.sleep(3600)
        await super()._handle_client()


class Handler:
    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        answer = await fault(server, "EHLO")
        session.host_name = hostname
        return [answer] if answer else responses

    async def handle_MAIL(self, server, session, envelope, address, options):
        answer = await fault(server, "MAIL")
        if answer:
            return answer
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        answer = await fault(server, "RCPT")
        if answer:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if mode.get("verb") == "DATA":
            answer = await fault(server, "DATA")
            if answer:
                return answer
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = list(message.walk())
        say(
            mail={
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "headers": [[name, str(value)] for name, value in message.items()],
                "text": message.get_body(("plain",)).get_content(),
                "html": message.get_body(("html",)).get_content(),
                "types": [part.get_content_type() for part in parts],
                "defects": [str(defect) for part in parts for defect in part.defects],
                "longest_line": max(len(line) for line in envelope.content.split(b"\r\n")),
                "bare_line_breaks": envelope.content.replace(b"\r\n", b"").count(b"\n"),
            }
        )
        answer = await fault(server, "BODY")
        return answer or "250 taken"


class Peer(Controller):
    def factory(self):
        return Faulty(self.handler, hostname="peer.example.net", enable_SMTPUTF8=True)


def listen_to_commands():
    for line in sys.stdin:
        if line.strip() == "sync":
            say(done="sync")
            continue
        words = line.split()
        verb = words[-1] if len(words) > 1 else None
        code = words[1].replace("_", " ") if len(words) > 2 else None
        # In one step: the server's thread reads it meanwhile.
        mode.update(kind=words[0], verb=verb, code=code)
        say(done=line.strip())


port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
controller = Peer(Handler(), hostname="127.0.0.1", port=port)
if port == 0:
    # aiosmtpd checks the port that it was told; take a free one first.
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        controller.port = probe.getsockname()[1]
controller.start()
say(port=controller.port)
listen_to_commands()
controller.stop()
