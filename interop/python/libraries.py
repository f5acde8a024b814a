"""Widely used Python libraries: getting tokens, by a company's word for a person too, and verifying them."""

import os
from importlib.metadata import version

import jwt
import requests
from authlib.common.security import generate_token
from authlib.integrations.requests_client import AssertionSession, OAuth2Session
from authlib.oauth2.rfc7523 import JWTBearerGrant, PrivateKeyJWT
from joserfc import jwt as jose_jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from oauthlib.oauth2 import BackendApplicationClient
from report import check, context, finish
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session as RequestsSession

CONTEXT = context()
ISSUER = CONTEXT["issuer"]
KEY_TYPES = {"ES256": ECKey, "RS256": RSAKey, "EdDSA": OKPKey}
# oauthlib refuses plain http unless told that this is a test on one machine.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
METADATA = requests.get(f"{ISSUER}/.well-known/oauth-authorization-server", timeout=5).json()


def authlib(method):
    client = CONTEXT["clients"][method.replace("_", "-")]
    session = OAuth2Session(client["id"], client["secret"], token_endpoint_auth_method=method)
    token = session.fetch_token(
        METADATA["token_endpoint"], grant_type="client_credentials", resource="https://elsewhere.example/api"
    )
    assert token["token_type"] == "Bearer" and token["scope"] == "read", token


def authlib_key(algorithm):
    name = f"key-{algorithm.lower()}"
    key = KEY_TYPES[algorithm].import_key(CONTEXT["keys"][name])
    session = OAuth2Session(CONTEXT["clients"][name]["id"], key, token_endpoint_auth_method="private_key_jwt")
    # Left alone, the library would name the token endpoint as the audience; RFC 7523bis wants the issuer.
    session.register_client_auth_method(PrivateKeyJWT(ISSUER, alg=algorithm))
    token = session.fetch_token(
        METADATA["token_endpoint"], grant_type="client_credentials", resource="https://elsewhere.example/api"
    )
    assert token["scope"] == "read", token


def company(typ, **claims):
    """The company's word for alice, signed with its key: an assertion (RFC 7523), or an identity assertion (ID-JAG)."""
    header = {"alg": "ES256", "kid": "person", "typ": typ}
    key = CONTEXT["keys"]["person"]
    about = {"roles": ["editor"], "jti": generate_token(36), **claims}
    return JWTBearerGrant.sign(key, "https://idp.example", ISSUER, "alice", claims=about, header=header, expires_in=300)


def bring(assertion, **more):
    client = CONTEXT["clients"]["client-secret-basic"]
    session = OAuth2Session(client["id"], client["secret"], token_endpoint_auth_method="client_secret_basic")
    grant = JWTBearerGrant.GRANT_TYPE
    return session.fetch_token(METADATA["token_endpoint"], grant_type=grant, assertion=assertion, **more)


def jwt_bearer():
    assertion = company("JWT")
    token = bring(assertion, resource="https://elsewhere.example/api", scope="read write")
    assert token["scope"] == "read write" and "refresh_token" not in token, token
    refused(lambda: bring(assertion, resource="https://elsewhere.example/api"))


def assertion_session():
    """The library's own client for assertions: it signs one whenever it needs a token."""
    client = CONTEXT["clients"]["client-secret-basic"]
    session = AssertionSession(
        METADATA["token_endpoint"],
        "https://idp.example",
        "alice",
        audience=ISSUER,
        claims={"roles": ["editor"]},
        key=CONTEXT["keys"]["person"],
        header={"alg": "ES256", "kid": "person"},
        expires_in=300,
    )
    session.auth = HTTPBasicAuth(client["id"], client["secret"])
    assert session.refresh_token()["token_type"] == "Bearer"


def id_jag():
    client = CONTEXT["clients"]["client-secret-basic"]["id"]
    where = {"resource": "https://elsewhere.example/api", "scope": "read"}
    token = bring(company("oauth-id-jag+jwt", client_id=client, **where))
    assert token["scope"] == "read" and "refresh_token" not in token, token
    other = CONTEXT["clients"]["client-secret-post"]["id"]
    refused(lambda: bring(company("oauth-id-jag+jwt", client_id=other, **where)))


def refused(work):
    try:
        work()
    except Exception as error:  # noqa: BLE001 - the library has errors of its own
        assert "invalid_grant" in str(error), error
    else:
        raise AssertionError("it was accepted")


def requests_oauthlib():
    client = CONTEXT["clients"]["client-secret-basic"]
    session = RequestsSession(client=BackendApplicationClient(client["id"]))
    token = session.fetch_token(
        METADATA["token_endpoint"],
        auth=HTTPBasicAuth(client["id"], client["secret"]),
        resource="https://elsewhere.example/api",
    )
    assert token["scope"] == ["read"], token


def token_for(uri):
    client = CONTEXT["clients"]["client-secret-post"]
    form = {
        "grant_type": "client_credentials",
        "client_id": client["id"],
        "client_secret": client["secret"],
        "resource": uri,
    }
    answer = requests.post(METADATA["token_endpoint"], data=form, timeout=5)
    answer.raise_for_status()
    return answer.json()["access_token"]


def pyjwt(algorithm, uri):
    token = token_for(uri)
    key = jwt.PyJWKClient(METADATA["jwks_uri"]).get_signing_key_from_jwt(token)
    required = ["iss", "aud", "exp", "iat", "sub", "client_id", "jti"]
    jwt.decode(token, key, [algorithm], {"require": required}, audience=uri, issuer=ISSUER)
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"


def joserfc(algorithm, uri):
    keys = KeySet.import_key_set(requests.get(METADATA["jwks_uri"], timeout=5).json())
    token = jose_jwt.decode(token_for(uri), keys, algorithms=[algorithm])
    jose_jwt.JWTClaimsRegistry(iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": uri}).validate(
        token.claims
    )


for method in ["client_secret_basic", "client_secret_post"]:
    check(f"Authlib {version('Authlib')}: {method}", lambda: authlib(method))
for algorithm in ["ES256", "RS256", "EdDSA"]:
    check(f"Authlib {version('Authlib')}: private_key_jwt {algorithm}", lambda: authlib_key(algorithm))
check(f"Authlib {version('Authlib')}: JWT bearer (RFC 7523), once", jwt_bearer)
check(f"Authlib {version('Authlib')}: JWT bearer, by its assertion client", assertion_session)
check(f"Authlib {version('Authlib')}: identity assertion (ID-JAG), for its own client", id_jag)
check(f"requests-oauthlib {version('requests-oauthlib')}: client_credentials", requests_oauthlib)
for algorithm, host in [("ES256", "elsewhere"), ("EdDSA", "edwards"), ("RS256", "rivest")]:
    uri = f"https://{host}.example/api"
    check(f"PyJWT {version('PyJWT')}: verifies {algorithm}", lambda: pyjwt(algorithm, uri))
    check(f"joserfc {version('joserfc')}: verifies {algorithm}", lambda: joserfc(algorithm, uri))
finish()
