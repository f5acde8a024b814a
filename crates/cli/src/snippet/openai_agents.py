# pip install openai-agents
# `chancery mcp connect` proves the agent and renews its tokens; this program has none.
import asyncio

from agents import Agent
from agents.mcp import MCPServerStdio

PARAMS = {
    "command": "chancery",
    "args": {args},
}


async def main():
    async with MCPServerStdio(name={resource}, params=PARAMS) as server:
        agent = Agent(name={agent}, instructions="Use the tools.", mcp_servers=[server])
        # Runner.run(agent, "…") calls the tools.
        for tool in await server.list_tools():
            print(agent.name, tool.name)


asyncio.run(main())
