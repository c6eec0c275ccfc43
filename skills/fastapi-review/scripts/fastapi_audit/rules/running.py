"""Rules about the app as it runs: they look at its routes and its OpenAPI, see application.py."""

from ..model import Rule

UNPROTECTED = Rule(
    "FR901",
    "a route asks nobody who they are",
    why="Anybody on the network may call it.",
    mend="Depends(current user) at the route or its router, or `# audit: ignore[FR901] why it is public` above it.",
    level="warning",
)
SHADOWED = Rule(
    "FR902",
    "a route is never reached",
    why="An earlier route takes the same requests: order decides, not how exact a path is.",
    mend="Move the fixed path above the one with a parameter.",
)
UNTYPED = Rule(
    "FR903",
    "a route declares no response model",
    why="Whatever the function returns goes out, new columns and hashes too, and OpenAPI says nothing.",
    mend="A return type, or response_model=.",
    level="warning",
)
DUPLICATE = Rule(
    "FR904",
    "an operation id is used twice",
    why="Generated clients lose one of the two.",
    mend="Different function names, or operation_id=.",
)
UNDOCUMENTED = Rule(
    "FR905",
    "an error answer is not documented",
    why="Clients and their generators don't know that it comes, nor what it looks like.",
    mend="responses={404: {...}} at the route, its router or the app.",
    level="warning",
)
