# pip install langchain-mcp-adapters
# `chancery mcp connect` proves the agent and renews its tokens; this program has none.
import asyncio

from langchain_mcp_adapters.client import MultiServerMCPClient

SERVERS = {
    {resource}: {
        "transport": "stdio",
        "command": "chancery",
        "args": {args},
    },
}


async def main():
    tools = await MultiServerMCPClient(SERVERS).get_tools()
    # Give them to your graph: create_agent(model, tools)
    for tool in tools:
        print(tool.name)


asyncio.run(main())
