"""Reads every feed of a folder as an independent feed reader (feedparser) does, and as an independent parser of XML.

Fails when one is not well-formed, is no valid Atom (RFC 4287 §4.1: id, title, updated; entries likewise, with an author),
has an id twice, or when what a feed reader would show could run a script.
"""
import pathlib
import re
import sys
import xml.dom.minidom

import feedparser

ATOM = "{http://www.w3.org/2005/Atom}"
WHEN = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
files = sorted(pathlib.Path(sys.argv[1]).glob("*.atom"))
assert files, "there are no feeds"
entries = 0
for file in files:
    raw = file.read_bytes()
    xml.dom.minidom.parseString(raw)
    # What it would sanitise is looked at as it came.
    feed = feedparser.parse(raw, sanitize_html=False, resolve_relative_uris=False)
    assert not feed.bozo, (file, feed.get("bozo_exception"))
    assert feed.version == "atom10", (file, feed.version)
    assert feed.feed.id.startswith("urn:uuid:") and feed.feed.title and WHEN.match(feed.feed.updated), file
    assert any(link.rel == "self" for link in feed.feed.links), file
    ids = [entry.id for entry in feed.entries]
    assert len(ids) == len(set(ids)), (file, "an id stands there twice")
    for entry in feed.entries:
        assert entry.id.startswith("urn:uuid:"), entry.id
        assert "title" in entry and "author" in entry, entry
        assert WHEN.match(entry.updated) and WHEN.match(entry.published), entry
        [content] = entry.content
        assert content.type == "text/html", content
        assert not re.search(r"<\s*(script|img|svg|iframe|object|embed|style|link|meta|form)\b", content.value, re.I), content
        assert not re.search(r"<[^>]*\s(on\w+|style|src)\s*=", content.value, re.I), content
        for link in entry.get("links", []):
            assert link.href.startswith(("http://", "https://")), link
        entries += 1
print(f"{len(files)} feeds, {entries} entries")
