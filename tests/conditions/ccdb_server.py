"""A CCDB for tests, written from the rules of its REST interface and from nothing of ours; keeps objects in a list.

Starts on the loopback interface. `faults` are taken one per request: a status, a delay [s], or "cut", "garble", "drip".
"""

import email
import hashlib
import json
import re
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class CcdbServer:
    """``with CcdbServer() as server: CcdbStore(server.url)``.

    Attributes
    ----------
    objects : list of dict
        All that was uploaded.
    how : str
        "direct": content in the first answer; "redirect": 303 to it; "replicas": 303 to places that fail, then to it.
    requests : list of (str, str, int)
        Method, path and status of every request.
    """

    def __init__(self, how="direct", now=None):
        self.objects, self.requests, self.faults, self.how, self.now = [], [], [], how, now
        self._lock = threading.Lock()
        server = self

        class Handler(_Handler):
            ccdb = server

        self._http = _Quiet(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def add(
        self, path, start, end, body, *, created=None, metadata=None, kind="application/octet-stream", name="o.bin"
    ):
        with self._lock:
            made = {
                "id": str(uuid.uuid4()),
                "path": path,
                "from": start,
                "until": end,
                "created": created if created is not None else self.now or time.time_ns() // 1_000_000,
                "metadata": dict(metadata or {}),
                "body": body,
                "kind": kind,
                "name": name,
            }
            self.objects.append(made)
            return made

    def winner(self, request):
        valid = [
            o
            for o in self.objects
            if o["path"] == request["path"]
            and (request["time"] is None or o["from"] <= request["time"] < o["until"])
            and request["not_before"] <= o["created"] <= request["not_after"]
            and all(o["metadata"].get(k) == v for k, v in request["flags"].items())
            and request["id"] in (None, o["id"])
        ]
        best = None
        for o in valid:  # in the order of uploads: of two created at once the second
            if best is None or o["created"] >= best["created"]:
                best = o
        return best


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A client that hung up is none of our business."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ccdb = None

    def log_message(self, *_):
        pass

    def parse(self):
        parts = [p for p in self.path.partition("?")[0].split("/") if p]
        parts = [unquote(p) for p in parts]
        request = {"flags": {}, "time": None, "end": None, "id": None}
        names = []
        for part in parts:
            if "=" in part:
                key, _, value = part.partition("=")
                request["flags"][key.strip()] = value.strip()
            elif re.fullmatch(r"[+-]?\d+", part):
                request["end" if request["time"] is not None else "time"] = int(part)
            elif request["time"] is None:
                names.append(part)
            else:
                request["id"] = part
        request["path"] = "/".join(names)
        request["not_after"] = int(self.headers.get("If-Not-After", 1 << 62))
        request["not_before"] = int(self.headers.get("If-Not-Before", 0))
        return request

    def answer(self, status, headers=(), body=b"", *, close=False):
        self.ccdb.requests.append((self.command, self.path, status))
        self.send_response(status)
        for key, value in headers:
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if close else body)
        if close:
            self.close_connection = True

    def fault(self):
        """Carry out the next fault; return whether the request is answered with it."""
        if not self.ccdb.faults:
            return None
        fault = self.ccdb.faults.pop(0)
        if isinstance(fault, float):
            time.sleep(fault)
            return None
        if isinstance(fault, int):
            self.answer(fault, body=b"out of order")
            return "done"
        return fault

    def about(self, o):
        return [
            ("Valid-From", str(o["from"])),
            ("Valid-Until", str(o["until"])),
            ("Created", str(o["created"])),
            ("ETag", f'"{o["id"]}"'),
            ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
            *o["metadata"].items(),
        ]

    def content(self, o):
        return [
            ("Content-Type", o["kind"]),
            ("Content-Disposition", f'inline;filename="{o["name"]}"'),
            ("Content-MD5", hashlib.md5(o["body"]).hexdigest()),
        ]

    def do_GET(self):
        fault = self.fault()
        if fault == "done":
            return
        if self.path.startswith("/download/"):
            found = [o for o in self.ccdb.objects if o["id"] == self.path.rpartition("/")[2]]
            if not found:
                self.answer(404)
                return
            self.send_content(found[0], self.content(found[0]), fault)
            return
        if self.path.startswith(("/browse/", "/latest/")):
            self.browse()
            return
        request = self.parse()
        if request["time"] is None:
            self.answer(400, body=b"usage: /path/time")
            return
        o = self.ccdb.winner(request)
        if o is None:
            self.answer(404, body=b"No matching objects found")
        elif self.headers.get("If-None-Match", "").strip('"') == o["id"]:
            self.answer(304)
        elif self.ccdb.how == "direct":
            self.send_content(o, self.about(o) + self.content(o), fault)
        else:
            place = f"/download/{o['id']}"
            places = [("Location", place), ("Content-Location", place)]
            if self.ccdb.how == "replicas":
                places = [
                    ("Location", f"alien:///alice/data/CCDB/{o['id']}"),
                    ("Content-Location", "file:///etc/hostname"),
                    ("Content-Location", "/download/lost"),
                    ("Content-Location", place),
                ]
            self.answer(303, self.about(o) + places)

    def send_content(self, o, headers, fault):
        body = o["body"]
        if fault == "garble":
            body = bytes(reversed(body))
        if fault == "drip":
            self.send_response(200)
            for key, value in [*headers, ("Content-Length", str(len(body)))]:
                self.send_header(key, value)
            self.end_headers()
            try:
                for i in range(len(body)):
                    self.wfile.write(body[i : i + 1])
                    self.wfile.flush()
                    time.sleep(0.05)
            except OSError:
                self.close_connection = True
            return
        self.answer(200, headers, body, close=fault == "cut")

    def browse(self):
        _, which, pattern = self.path.split("/", 2)
        pattern = unquote(pattern).strip("/")
        objects = sorted(self.ccdb.objects, key=lambda o: -o["created"])
        is_pattern = "*" in pattern
        objects = [o for o in objects if (re.match(pattern, o["path"]) if is_pattern else o["path"] == pattern)]
        if which == "latest":
            objects = list({o["path"]: o for o in reversed(objects)}.values())
        listed = [
            {
                "path": o["path"],
                "createTime": o["created"],
                "Created": o["created"],
                "id": o["id"],
                "ETag": f'"{o["id"]}"',
                "validFrom": o["from"],
                "Valid-From": o["from"],
                "validUntil": o["until"],
                "Valid-Until": o["until"],
                "MD5": hashlib.md5(o["body"]).hexdigest(),
                "fileName": o["name"],
                "contentType": o["kind"],
                "Content-Type": o["kind"],
                "size": len(o["body"]),
                "Content-Length": len(o["body"]),
                "replicas": [f"/download/{o['id']}"],
                **o["metadata"],
            }
            for o in objects
        ]
        self.answer(
            200, [("Content-Type", "application/json")], json.dumps({"objects": listed, "subfolders": []}).encode()
        )

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.fault() == "done":
            return
        request = self.parse()
        whole = email.message_from_bytes(b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + body)
        parts = whole.get_payload()
        if request["time"] is None or request["end"] is None or len(parts) != 1:
            self.answer(400, body=b"want one part")
            return
        head, _, rest = body.partition(b"\r\n\r\n")
        mark = head.partition(b"\r\n")[0]
        content = rest[: rest.rindex(b"\r\n" + mark)]
        o = self.ccdb.add(
            request["path"],
            request["time"],
            request["end"],
            content,
            metadata=request["flags"],
            kind=parts[0].get_content_type(),
            name=parts[0].get_filename(),
        )
        self.answer(201, self.about(o))

    def do_DELETE(self):
        o = self.ccdb.winner(self.parse())
        if o is None:
            self.answer(404)
            return
        self.ccdb.objects.remove(o)
        self.answer(204, self.about(o))
