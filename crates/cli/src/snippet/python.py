# pip install mcp
# The agent's secret comes from the environment: CHANCERY_CLIENT_SECRET, and CHANCERY_CLIENT_ID if it has another client.
import asyncio
import os

from mcp import ClientSession
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client

try:
    import httpx2 as httpx  # mcp 2
except ImportError:
    import httpx  # mcp 1

URL = {url}
ISSUER = {issuer}


class Memory:
    """Where tokens stay: in this process, and nowhere else."""

    tokens = info = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.info

    async def set_client_info(self, info):
        self.info = info


async def main():
    provider = ClientCredentialsOAuthProvider(
        URL,
        Memory(),
        os.environ.get("CHANCERY_CLIENT_ID", {client}),
        os.environ["CHANCERY_CLIENT_SECRET"],
        "client_secret_basic",
        issuer=ISSUER,
    )
    async with httpx.AsyncClient(auth=provider, timeout=60) as http:
        async with streamable_http_client(URL, http_client=http) as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                await session.initialize()
                for tool in (await session.list_tools()).tools:
                    print(tool.name)


asyncio.run(main())
