"""An MCP server that enforces for itself: the SDK's own bearer middleware over a JWT verifier.

It knows two things by configuration: its own URL and the issuer. It runs on SDK 1.x and 2.x.
Arguments: its own URL, the issuer.
"""

import sys
from urllib.parse import urlparse

import anyio
import jwt
import requests
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings

RESOURCE, ISSUER = sys.argv[1], sys.argv[2]
PORT = urlparse(RESOURCE).port


class JwtVerifier(TokenVerifier):
    """Verifies access tokens by RFC 9068 section 4 with PyJWT; keys from the issuer's metadata."""

    def __init__(self):
        self.keys = None

    async def verify_token(self, token):
        return await anyio.to_thread.run_sync(self.verify, token)

    def verify(self, token):
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ", "").lower().removeprefix("application/") != "at+jwt":
                return None
            claims = jwt.decode(
                token,
                self.key_set().get_signing_key_from_jwt(token).key,
                algorithms=["ES256", "EdDSA", "RS256"],
                issuer=ISSUER,
                audience=RESOURCE,
                options={"require": ["iss", "aud", "exp", "iat", "sub", "client_id", "jti"]},
            )
        except jwt.PyJWTError:
            return None
        return AccessToken(
            token=token,
            client_id=claims["client_id"],
            scopes=claims.get("scope", "").split(),
            expires_at=claims["exp"],
            resource=RESOURCE,
        )

    def key_set(self):
        if self.keys is None:
            metadata = requests.get(f"{ISSUER}/.well-known/oauth-authorization-server", timeout=5).json()
            if metadata["issuer"] != ISSUER:
                raise jwt.PyJWTError("the metadata names another issuer")
            self.keys = jwt.PyJWKClient(metadata["jwks_uri"])
        return self.keys


def whoami() -> str:
    """Says which client calls, as the verified token has it."""
    return get_access_token().client_id


def settings(**more):
    return AuthSettings(issuer_url=ISSUER, resource_server_url=RESOURCE, required_scopes=["read"], **more)


try:
    from mcp.server.mcpserver import MCPServer
except ImportError:
    from mcp.server.fastmcp import FastMCP

    server = FastMCP("tools", host="127.0.0.1", port=PORT, token_verifier=JwtVerifier(), auth=settings())
    server.tool()(whoami)
    server.run("streamable-http")
else:
    server = MCPServer("tools", token_verifier=JwtVerifier(), auth=settings(validate_token_resource=True))
    server.tool()(whoami)
    server.run("streamable-http", host="127.0.0.1", port=PORT)
