"""One JSON object per line for each check; the program fails if one did."""

import asyncio
import inspect
import json
import sys
import traceback

FAILED = []


def context():
    """What this run is about: addresses, client identifiers, secrets."""
    with open(sys.argv[1], encoding="utf-8") as file:
        return json.load(file)


def check(name, work):
    """Runs one check. What it returns is its detail; any exception fails it."""
    try:
        detail = work()
        if inspect.isawaitable(detail):
            detail = asyncio.run(detail)
        say(name, True, detail)
    except BaseException as error:  # noqa: BLE001 - an exception group counts too
        traceback.print_exc()
        say(name, False, root_of(error))


def say(name, passed, detail):
    if not passed:
        FAILED.append(name)
    print(json.dumps({"check": name, "passed": passed, "detail": str(detail or "")}), flush=True)


def finish():
    sys.exit(1 if FAILED else 0)


def root_of(error):
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".splitlines()[0]
