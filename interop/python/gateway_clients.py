"""The Python SDK's clients in both eras: everything that a server can do, directly and through the gateway.

Through the gateway they get their tokens by themselves, as clients of Chancery.
"""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

import anyio
from mcp import ClientSession, types
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client

from both_ways import CONTEXT, WAYS, compare, outcome
from clients_memory import Memory
from report import check, finish

try:
    import httpx2 as httpx
except ImportError:
    import httpx

try:
    from mcp import Client
except ImportError:
    Client = None

SDK = f"Python mcp {version('mcp')}"
IS_FIRST = Client is None


async def elicited(_context, params):
    content = {"name": "Alice", "username": "alice", "email": "alice@corp.example", "said": params.message}
    return types.ElicitResult(action="accept", content=content)


async def sampled(_context, _params):
    return types.CreateMessageResult(
        role="assistant", model="none", content=types.TextContent(type="text", text="Paris")
    )


class Connected:
    """A client with what it was told on the way."""

    def __init__(self, client, logged, init):
        self.client, self.logged, self.init = client, logged, init
        self.call = client.call_tool


@asynccontextmanager
async def connected(way, is_newest):
    logged = []

    async def log(params):
        logged.append(params.data)

    callbacks = {"elicitation_callback": elicited, "sampling_callback": sampled, "logging_callback": log}
    auth = None
    if way.is_gateway:
        client = CONTEXT["client"]
        auth = ClientCredentialsOAuthProvider(
            way.url, Memory(), client["id"], client["secret"], "client_secret_basic", issuer=CONTEXT["issuer"]
        )
    headers = {} if way.is_gateway else way.headers
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(auth=auth, headers=headers, timeout=30))
        transport = streamable_http_client(way.url, http_client=http)
        if is_newest:
            client = await stack.enter_async_context(Client(transport, **callbacks))
            yield Connected(client, logged, [client.server_info, client.server_capabilities, client.protocol_version])
        else:
            streams = await stack.enter_async_context(transport)
            session = await stack.enter_async_context(ClientSession(streams[0], streams[1], **callbacks))
            init = await session.initialize()
            yield Connected(session, logged, init)


def uri(text):
    if not IS_FIRST:
        return text
    from pydantic import AnyUrl

    return AnyUrl(text)


async def progress(one):
    seen = []

    async def note(done, _total, _message):
        seen.append(done)

    return [await one.call("test_tool_with_progress", {}, progress_callback=note), seen]


async def log_messages(one):
    return [await one.call("test_tool_with_logging", {}), one.logged]


async def side_by_side(one):
    return await asyncio.gather(*(one.call("echo", {"text": str(index)}) for index in range(8)))


async def several(*calls):
    return [await call for call in calls]


async def cancels(one, progress):
    """How many waits the server saw cancelled, when one is given up."""

    async def count():
        return int((await one.call("cancelled", {})).content[0].text)

    async def note(_done, _total, _message):
        pass

    before = await count()
    with anyio.move_on_after(0.4):
        await one.call("wait", {"seconds": 20, "progress": progress}, progress_callback=note)
    for _ in range(60):
        if await count() > before:
            break
        await anyio.sleep(0.05)
    return await count() - before


PROMPT = types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
STEPS = {
    "what the server is": lambda one: several(asyncio.sleep(0, one.init)),
    "tools/list": lambda one: one.client.list_tools(),
    "prompts/list": lambda one: one.client.list_prompts(),
    "resources/list": lambda one: one.client.list_resources(),
    "resources/templates/list": lambda one: one.client.list_resource_templates(),
    "a tool with arguments and structured content": lambda one: one.call("add", {"a": 2, "b": 40.5}),
    "text of every kind": lambda one: one.call("echo", {"text": "Grüße, 世界 \U0001f44b \" \\ \x07 </script>"}),
    "every kind of content": lambda one: several(
        one.call("test_image_content", {}),
        one.call("test_audio_content", {}),
        one.call("test_multiple_content_types", {}),
    ),
    "a tool that fails": lambda one: one.call("test_error_handling", {}),
    "an unknown tool": lambda one: outcome(one.call("no_such_tool", {})),
    "an argument that is missing": lambda one: outcome(one.call("add", {"a": 1})),
    "progress": progress,
    "log messages": log_messages,
    "resources/read": lambda one: several(
        one.client.read_resource(uri("test://static-text")),
        one.client.read_resource(uri("test://static-binary")),
        one.client.read_resource(uri("test://template/7/data")),
    ),
    "an unknown resource": lambda one: outcome(one.client.read_resource(uri("test://nothing"))),
    "prompts/get": lambda one: several(
        one.client.get_prompt("test_simple_prompt"),
        one.client.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"}),
    ),
    "completion/complete": lambda one: one.client.complete(PROMPT, {"name": "arg1", "value": "par"}),
    "elicitation": lambda one: one.call("test_elicitation", {"message": "who?"}),
    "sampling": lambda one: one.call("test_sampling", {"prompt": "The capital of France?"}),
    "several rounds": lambda one: one.call("test_input_required_result_multi_round", {}),
    "calls side by side": side_by_side,
    "cancellation of a call that tells how far it is": lambda one: cancels(one, True),
    "cancellation before the first word": lambda one: cancels(one, False),
}


async def play(way, is_newest, seen):
    async with connected(way, is_newest) as one:
        for name, step in STEPS.items():
            seen.append((name, await outcome(step(one))))


def main():
    eras = [("sessions", False)] if IS_FIRST else [("sessions", False), ("2026-07-28", True)]
    for era, is_newest in eras:
        title = f"{SDK}, {era}"
        seen = [[], []]

        async def both(is_newest=is_newest, seen=seen):
            for way, outcomes in zip(WAYS, seen):
                await play(way, is_newest, outcomes)

        check(f"{title}: connects and hangs up both ways", both)
        for (name, direct), (_, gateway) in zip(*seen):
            compare(f"{title}: {name}", [direct, gateway])


main()
finish()
