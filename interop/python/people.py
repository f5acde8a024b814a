"""OAuth clients with people: Authlib and requests-oauthlib, from the authorization endpoint to the resource."""

import os
from importlib.metadata import version

# One machine, plain http.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

import requests
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey
from requests_oauthlib import OAuth2Session as Oauthlib

from report import check, context, finish

CONTEXT = context()
CALLBACK = "http://127.0.0.1:9/callback"
METADATA = requests.get(f"{CONTEXT['issuer']}/.well-known/oauth-authorization-server", timeout=10).json()
AUTHLIB = f"Authlib {version('Authlib')}"
REQUESTS = f"requests-oauthlib {version('requests-oauthlib')}"


def send(url, **wishes):
    """Where the person's browser was sent in the end."""
    query = {"url": url, "who": "alice", "through": CONTEXT["provider"], **wishes}
    said = requests.get(CONTEXT["person"], params=query, timeout=30).json()
    assert "location" in said, said
    return said["location"]


def opens(token):
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
    answer = requests.post(CONTEXT["mcp"], json={**message, "params": params}, headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text


def authlib(name, method):
    client = CONTEXT["clients"][name]
    is_key = method == "private_key_jwt"
    secret = ECKey.import_key(CONTEXT["keys"][name]) if is_key else client.get("secret")
    session = OAuth2Session(
        client["id"],
        secret,
        redirect_uri=CALLBACK,
        scope="read write offline_access",
        token_endpoint_auth_method=method,
        code_challenge_method="S256",
        token_endpoint=METADATA["token_endpoint"],
    )
    if is_key:
        session.register_client_auth_method(PrivateKeyJWT(CONTEXT["issuer"], alg="ES256"))
    verifier = generate_token(48)
    url, state = session.create_authorization_url(
        METADATA["authorization_endpoint"], code_verifier=verifier, resource=CONTEXT["mcp"]
    )
    back = send(url)
    token = session.fetch_token(authorization_response=back, state=state, code_verifier=verifier)
    opens(token["access_token"])
    fresh = session.refresh_token(METADATA["token_endpoint"], refresh_token=token["refresh_token"])
    opens(fresh["access_token"])
    return fresh["scope"]


def oauthlib(name):
    client = CONTEXT["clients"][name]
    session = Oauthlib(client["id"], redirect_uri=CALLBACK, scope=["read", "write", "offline_access"], pkce="S256")
    url, _ = session.authorization_url(METADATA["authorization_endpoint"], resource=CONTEXT["mcp"])
    back = send(url)
    secret = client.get("secret")
    # Its scope warning is an error unless told otherwise: `offline_access` is not a scope of the token.
    os.environ["OAUTHLIB_RELAX_TOKEN_SCOPE"] = "1"
    token = session.fetch_token(
        METADATA["token_endpoint"], authorization_response=back, client_secret=secret, include_client_id=not secret
    )
    opens(token["access_token"])
    auth = (client["id"], secret) if secret else None
    more = {} if secret else {"client_id": client["id"]}
    fresh = session.refresh_token(METADATA["token_endpoint"], auth=auth, **more)
    opens(fresh["access_token"])
    return " ".join(fresh["scope"])


for app, way in [
    ("public-app", "none"),
    ("basic-app", "client_secret_basic"),
    ("post-app", "client_secret_post"),
    ("key-app", "private_key_jwt"),
]:
    check(f"{AUTHLIB}: code with PKCE, {way}, the resource, refresh", lambda app=app, way=way: authlib(app, way))
for app in ["public-app", "basic-app"]:
    check(f"{REQUESTS}: code with PKCE, {app}, the resource, refresh", lambda app=app: oauthlib(app))
finish()
