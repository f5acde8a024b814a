"""What a server that enforces for itself accepts of our tokens, and what it must refuse."""

import base64
import json
import time

import requests
from report import check, context, finish

CONTEXT = context()


def b64(value):
    if not isinstance(value, bytes):
        value = json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def part(token, position):
    text = token.split(".")[position]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def token(resource, scope="read"):
    client = CONTEXT["clients"]["client-secret-basic"]
    answer = requests.post(
        CONTEXT["issuer"] + "/token",
        auth=(client["id"], client["secret"]),
        data={"grant_type": "client_credentials", "resource": resource, "scope": scope},
        timeout=5,
    )
    answer.raise_for_status()
    assert answer.headers["cache-control"] == "no-store", answer.headers
    return answer.json()["access_token"]


def call(url, bearer):
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    if bearer is not None:
        headers["Authorization"] = f"Bearer {bearer}"
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "interop", "version": "1"},
        },
    }
    return requests.post(url, headers=headers, json=body, timeout=10)


def accepted(url, bearer):
    answer = call(url, bearer)
    assert answer.status_code == 200, (answer.status_code, answer.text)
    return "200"


def refused(url, bearer, status=401, error="invalid_token"):
    answer = call(url, bearer)
    challenge = answer.headers.get("www-authenticate", "")
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert f'error="{error}"' in challenge and "resource_metadata=" in challenge, challenge
    return f"{status} {error}"


def tampered(good):
    """The same token with one claim changed and the old signature."""
    header, _, signature = good.split(".")
    return ".".join([header, b64({**part(good, 1), "scope": "read write"}), signature])


def unsigned(good):
    return ".".join([b64({**part(good, 0), "alg": "none"}), good.split(".")[1], ""])


def flipped(good):
    """One bit of the signature changed."""
    head, _, signature = good.rpartition(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))
    raw[7] ^= 1
    return f"{head}.{b64(bytes(raw))}"


def names_us(server):
    origin, path = server["url"].rsplit("/", 1)
    document = requests.get(f"{origin}/.well-known/oauth-protected-resource/{path}", timeout=5).json()
    servers = [one.rstrip("/") for one in document["authorization_servers"]]
    assert servers == [CONTEXT["issuer"]] and document["resource"] == server["url"], document
    return ""


brief = CONTEXT["servers"][-1]
short = token(brief["url"])
short_until = part(short, 1)["exp"]
for server in CONTEXT["servers"]:
    name, url = f"server on mcp {server['sdk']}", server["url"]
    if server is brief:
        continue
    good = token(url)
    check(f"{name}: its metadata names us (RFC 9728)", lambda: names_us(server))
    check(f"{name}: our token is accepted", lambda: accepted(url, good))
    check(f"{name}: no token is refused", lambda: refused(url, None))
    check(f"{name}: another audience's token is refused", lambda: refused(url, token("https://elsewhere.example/api")))
    check(
        f"{name}: a token without the scope is refused",
        lambda: refused(url, token(url, "write"), 403, "insufficient_scope"),
    )
    check(f"{name}: alg none is refused", lambda: refused(url, unsigned(good)))
    check(f"{name}: a tampered token is refused", lambda: refused(url, tampered(good)))
    check(f"{name}: a flipped signature bit is refused", lambda: refused(url, flipped(good)))
check(f"server on mcp {brief['sdk']}: a token of ten seconds is accepted", lambda: accepted(brief["url"], short))
time.sleep(max(0.0, short_until + 1.1 - time.time()))
check(f"server on mcp {brief['sdk']}: and refused once it has expired", lambda: refused(brief["url"], short))
finish()
