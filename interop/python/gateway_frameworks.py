"""langchain-mcp-adapters and openai-agents as their own guides set them up, without a model: directly and through
the gateway."""

from importlib.metadata import version

from agents.mcp import MCPServerStreamableHttp
from langchain_mcp_adapters.client import MultiServerMCPClient

from both_ways import WAYS, compare
from report import check, finish


async def langchain(way):
    connection = {"transport": "streamable_http", "url": way.url, "headers": way.headers}
    client = MultiServerMCPClient({"fixture": connection})
    tools = {tool.name: tool for tool in await client.get_tools()}
    add, words = tools["add"], tools["test_multiple_content_types"]
    resources = await client.get_resources("fixture", uris=["test://static-text"])
    prompt = await client.get_prompt("fixture", "test_simple_prompt")
    answer = await words.ainvoke({"name": words.name, "args": {}, "id": "1", "type": "tool_call"})
    return {
        "tools": [[name, tool.description, tool.args] for name, tool in tools.items()],
        # Each block of content is given an identifier of its own by the library.
        "add": [block["text"] for block in await add.ainvoke({"a": 1, "b": 2})],
        "content": [block["type"] for block in answer.content],
        "resource": [resource.as_string() for resource in resources],
        "prompt": [message.content for message in prompt],
    }


async def agents(way):
    params = {"url": way.url, "headers": way.headers}
    async with MCPServerStreamableHttp(params=params, client_session_timeout_seconds=30) as server:
        return {
            "tools": await server.list_tools(),
            "add": await server.call_tool("add", {"a": 1, "b": 2}),
            "progress": await server.call_tool("test_tool_with_progress", {}),
            "failed": await server.call_tool("test_error_handling", {}),
            "prompts": await server.list_prompts(),
            "prompt": await server.get_prompt("test_simple_prompt"),
            "resource": await server.read_resource("test://static-text"),
        }


for package, work in [("langchain-mcp-adapters", langchain), ("openai-agents", agents)]:
    title = f"{package} {version(package)}"
    seen = []

    async def both(work=work, seen=seen):
        for way in WAYS:
            seen.append(await work(way))

    check(f"{title}: works both ways", both)
    if len(seen) == len(WAYS):
        for part in seen[0]:
            compare(f"{title}: {part}", [outcome[part] for outcome in seen])
finish()
