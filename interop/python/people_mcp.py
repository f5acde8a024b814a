"""The Python SDK's own OAuth client, which finds the authorization server, makes itself known and brings a person.

By registration and by metadata document, through the gateway.
"""

from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit

from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

from clients_memory import Memory
from report import check, context, finish

try:
    import httpx2 as httpx
except ImportError:
    import httpx

try:
    from mcp.shared.auth import AuthorizationCodeResult
except ImportError:
    try:
        from mcp.client.auth import AuthorizationCodeResult
    except ImportError:
        AuthorizationCodeResult = None

CONTEXT = context()
CALLBACK = "http://127.0.0.1:9/callback"
SDK = f"Python mcp {version('mcp')}"


class Person:
    """Takes the place of the browser that the SDK opens, and of the listener that it waits at."""

    back = None

    async def go(self, url):
        query = {"url": url, "who": "alice", "through": CONTEXT["provider"]}
        async with httpx.AsyncClient(timeout=30) as http:
            said = (await http.get(CONTEXT["person"], params=query)).json()
        assert "location" in said, said
        self.back = {name: values[0] for name, values in parse_qs(urlsplit(said["location"]).query).items()}

    async def come_back(self):
        if AuthorizationCodeResult is None:
            return self.back["code"], self.back["state"]
        return AuthorizationCodeResult(code=self.back["code"], state=self.back["state"], iss=self.back.get("iss"))


async def let_in(document=None):
    person, memory = Person(), Memory()
    metadata = OAuthClientMetadata(
        client_name=SDK,
        redirect_uris=[CALLBACK],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        token_endpoint_auth_method="none",
    )
    more = {"client_metadata_url": document} if document else {}
    auth = OAuthClientProvider(CONTEXT["mcp"], metadata, memory, person.go, person.come_back, **more)
    async with httpx.AsyncClient(auth=auth, timeout=30) as http:
        async with streamable_http_client(CONTEXT["mcp"], http_client=http) as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                await session.initialize()
                tools = [tool.name for tool in (await session.list_tools()).tools]
                assert "add" in tools, tools
                answer = await session.call_tool("add", {"a": 1, "b": 2})
                assert "3" in answer.content[0].text, answer
    if document:
        assert memory.info.client_id == document, memory.info
    return memory.tokens.scope


check(f"{SDK}: registers itself (RFC 7591), the person lets it in, it calls", let_in)
check(
    f"{SDK}: metadata document (CIMD), the person lets it in, it calls",
    lambda: let_in(f"{CONTEXT['documents']}/python-{version('mcp')}.json"),
)
finish()
