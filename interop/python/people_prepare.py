"""Makes a fresh key and the file that `chancery apply` reads, for the programs that bring people.

Arguments: the issuer, the directory to write to, the port of the MCP server, and `method=port` for each provider.
"""

import json
import sys
from pathlib import Path

from prepare import key_pair

CALLBACKS = ["http://127.0.0.1/callback", "http://localhost/callback"]


def provider(method, port):
    sign_in = {"client_id": "chancery", "authentication": method, "label": method}
    claims = {"roles": "roles", "groups": "groups", "attributes": {"name": "name", "email": "email"}}
    claims["role_map"] = {"boss": "administrator", "staff": "staff"}
    return {
        "name": method.replace("_", "-"),
        "issuer": f"http://127.0.0.1:{port}",
        "purposes": ["users"],
        "keys": "discovery",
        "audiences": ["chancery"],
        "claims": claims,
        "sign_in": sign_in,
    }


def drive(method, port):
    """A connection to accounts at a provider, and the resource that uses them."""
    at = f"http://127.0.0.1:{port}"
    oauth = {
        "issuer": at,
        "client_id": "drive",
        "authentication": method,
        "scopes": ["openid", "email", "offline_access"],
        "authorization_parameters": {"prompt": "consent"},
        "account": {"of": "userinfo", "subject": "/sub", "label": "/name"},
    }
    connection = {
        "name": "drive",
        "owner": "lab",
        "owner_level": "user",
        "base_url": at,
        "credential": {"oauth2": oauth},
    }
    route = {"methods": ["GET"], "path": "/**", "scopes": ["see"]}
    resource = {
        "name": "drive",
        "owner": "lab",
        "upstream": {"http": {"connection": "drive", "routes": [route]}},
        "scopes": {"see": {"description": "see who you are there", "sensitivity": "read"}},
        "default_scopes": ["see"],
        "holders": {"staff": ["see"], "administrator": ["see"]},
    }
    return connection, resource


def client(name, method, **more):
    return {"name": name, "agent": "worker", "method": method, "redirect_uris": CALLBACKS, **more}


def main():
    issuer, folder, port, *providers = sys.argv[1:]
    private, public = key_pair("ES256", "key-app")
    base = f"http://127.0.0.1:{port}"
    key = {"name": "key", "placement": {"header": {"name": "X-Api-Key"}}}
    grants = ["authorization_code", "refresh_token"]
    accounts, their_resource = drive(*providers[0].split("="))
    document = {
        "trusted_issuers": [provider(*pair.split("=")) for pair in providers],
        "connections": [
            {
                "name": "fixture",
                "owner": "lab",
                "owner_level": "tenant",
                "base_url": base,
                "credential": {"api_key": {"parts": [key]}},
            },
            accounts,
        ],
        "resources": [
            {
                "name": "fixture",
                "owner": "lab",
                "upstream": {"mcp": {"url": f"{base}/mcp", "connection": "fixture"}},
                "scopes": {
                    "read": {"description": "look at things", "sensitivity": "read"},
                    "write": {"description": "change things"},
                },
                "default_scopes": ["read", "write"],
                "holders": {"staff": ["read", "write"], "administrator": ["read", "write"]},
                "tools": {"add": ["read"], "echo": ["read"], "test_simple_text": ["write"]},
            },
            their_resource,
        ],
        "agents": [{"name": "worker", "owner": "group:lab", "ceiling": {"fixture": ["read", "write"], "drive": ["see"]}}],
        "clients": [
            client("public-app", "none", grant_types=grants),
            client("basic-app", "client_secret_basic", grant_types=grants),
            client("post-app", "client_secret_post", grant_types=grants),
            client("key-app", "private_key_jwt", grant_types=grants, jwks={"keys": [public]}),
            {
                "name": "device-app",
                "agent": "worker",
                "method": "none",
                "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
            },
            {
                "name": "ciba-app",
                "agent": "worker",
                "method": "client_secret_basic",
                "grant_types": ["urn:openid:params:grant-type:ciba"],
            },
        ],
        "grants": [{"agent": "worker", "principal": "tenant", "connection": "fixture"}],
    }
    (Path(folder) / "apply.json").write_text(json.dumps(document), encoding="utf-8")
    (Path(folder) / "keys.json").write_text(json.dumps({"key-app": private}), encoding="utf-8")


main()
