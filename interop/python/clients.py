"""The Python SDK's own client providers: they know an MCP server's URL, the issuer, and who they are."""

from importlib.metadata import version

from mcp import ClientSession
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.streamable_http import streamable_http_client
from clients_memory import Memory
from report import check, context, finish

try:
    import httpx2 as httpx
except ImportError:
    import httpx

CONTEXT = context()
SDK = f"Python mcp {version('mcp')}"


def secret_provider(url, method):
    client = CONTEXT["clients"][method.replace("_", "-")]
    return ClientCredentialsOAuthProvider(
        url, Memory(), client["id"], client["secret"], method, issuer=CONTEXT["issuer"]
    ), client["id"]


def key_provider(url, algorithm):
    name = f"key-{algorithm.lower()}"
    client = CONTEXT["clients"][name]["id"]
    parameters = SignedJWTParameters(
        issuer=client, subject=client, signing_key=CONTEXT["keys"][name], signing_algorithm=algorithm
    )
    provider = PrivateKeyJWTOAuthProvider(
        url, Memory(), client, parameters.create_assertion_provider(), issuer=CONTEXT["issuer"]
    )
    return provider, client


async def gets_in(url, provider, client):
    async with httpx.AsyncClient(auth=provider, timeout=20) as http:
        async with streamable_http_client(url, http_client=http) as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                await session.initialize()
                tools = await session.list_tools()
                assert [tool.name for tool in tools.tools] == ["whoami"], tools
                answer = await session.call_tool("whoami", {})
    text = answer.content[0].text
    assert text == client, text
    return "listed and called"


for server in CONTEXT["servers"][:2]:
    place = f"{SDK}, server on mcp {server['sdk']}"
    for method in ["client_secret_basic", "client_secret_post"]:
        check(f"{place}: {method}", lambda: gets_in(server["url"], *secret_provider(server["url"], method)))
    for algorithm in ["ES256", "RS256", "EdDSA"]:
        check(
            f"{place}: private_key_jwt {algorithm}",
            lambda: gets_in(server["url"], *key_provider(server["url"], algorithm)),
        )
finish()
