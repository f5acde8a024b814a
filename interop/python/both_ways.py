"""Does a thing directly at the fixture and through the gateway, and passes if both came out the same."""

import json

from report import check, context, root_of

CONTEXT = context()


class Way:
    """Where to go, and what it takes to get in."""

    def __init__(self, place, name, value):
        self.url, self.headers = place["url"], {name: value}
        self.is_gateway = name == "authorization"


WAYS = [
    Way(CONTEXT["direct"], "x-api-key", CONTEXT["direct"]["key"]),
    Way(CONTEXT["gateway"], "authorization", f"Bearer {CONTEXT['gateway']['token']}"),
]


def compare(name, outcomes):
    """One check: what was seen each way, as JSON, is the same."""

    def work():
        seen = [json.dumps(plain(outcome), sort_keys=True) for outcome in outcomes]
        assert seen[0] == seen[1], f"directly {seen[0]}, through the gateway {seen[1]}"
        return seen[0]

    check(name, work)


def plain(value):
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(value, dict):
        # Who may keep an answer, and for how long, is the gateway's to say.
        return {key: plain(item) for key, item in value.items() if key not in ("ttlMs", "cacheScope")}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


async def outcome(work):
    """What becomes of something that may fail: its result, or the code of its error."""
    try:
        return {"result": await work}
    except Exception as error:  # noqa: BLE001
        code = getattr(getattr(error, "error", None), "code", None)
        return {"failed": code if code is not None else root_of(error)}
