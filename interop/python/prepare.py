"""Makes fresh keys, and the file that `chancery apply` reads.

Arguments: the issuer, the directory to write to, and the URLs of the three MCP servers.
"""

import json
import sys
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa


def key_pair(algorithm, kid):
    """A private key as PEM and the public one as a JWK."""
    if algorithm == "ES256":
        private, family = ec.generate_private_key(ec.SECP256R1()), jwt.algorithms.ECAlgorithm
    elif algorithm == "RS256":
        private, family = rsa.generate_private_key(65537, 2048), jwt.algorithms.RSAAlgorithm
    else:
        private, family = ed25519.Ed25519PrivateKey.generate(), jwt.algorithms.OKPAlgorithm
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = json.loads(family.to_jwk(private.public_key()))
    public = {name: value for name, value in public.items() if name != "key_ops"}
    return pem.decode(), {**public, "kid": kid, "alg": algorithm, "use": "sig"}


def resource(name, uri, **more):
    scopes = {
        "read": {"description": "read", "sensitivity": "read"},
        "write": {"description": "write", "sensitivity": "write"},
    }
    return {
        "name": name,
        "uri": uri,
        "scopes": scopes,
        "default_scopes": ["read"],
        "holders": {"editor": ["read", "write"]},
        **more,
    }


def main():
    issuer, folder, one, two, brief = sys.argv[1], Path(sys.argv[2]), *sys.argv[3:6]
    resources = [
        resource("one", one),
        resource("two", two),
        resource("brief", brief, lifetime=10),
        resource("elsewhere", "https://elsewhere.example/api"),
        resource("edwards", "https://edwards.example/api", algorithm="EdDSA"),
        resource("rivest", "https://rivest.example/api", algorithm="RS256"),
    ]
    names = [one["name"] for one in resources]
    keys, clients = {}, []
    for method in ["client_secret_basic", "client_secret_post"]:
        clients.append({"name": method.replace("_", "-"), "agent": "worker", "method": method})
    for algorithm in ["ES256", "RS256", "EdDSA"]:
        name = f"key-{algorithm.lower()}"
        keys[name], public = key_pair(algorithm, name)
        clients.append(
            {"name": name, "agent": "worker", "method": "private_key_jwt", "jwks": {"keys": [public]}}
        )
    keys["person"], public = key_pair("ES256", "person")
    document = {
        "trusted_issuers": [
            {
                "name": "company",
                "issuer": "https://idp.example",
                "purposes": ["users"],
                "keys": {"inline": {"keys": [public]}},
                "audiences": [issuer],
                "claims": {"roles": "roles"},
                "assertions": ["jwt_bearer", "id_jag"],
            }
        ],
        "resources": resources,
        "agents": [
            {"name": "worker", "owner": "group:lab", "ceiling": {name: ["read", "write"] for name in names}}
        ],
        "clients": clients,
        "grants": [
            {"agent": "worker", "principal": principal, "resource": name, "scopes": ["read", "write"]}
            for name in names
            for principal in ["itself", "tenant"]
        ],
    }
    (folder / "apply.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    (folder / "keys.json").write_text(json.dumps(keys), encoding="utf-8")


if __name__ == "__main__":
    main()
