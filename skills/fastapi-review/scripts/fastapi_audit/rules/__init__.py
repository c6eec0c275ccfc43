"""All rules, by id. Each module of this package holds the rules of one field."""

from ..model import Rule
from . import answers, auth, database, endpoints, middleware, outdated, running, suites

GROUPS = (outdated, database, auth, answers, endpoints, middleware, suites, running)
ALL: dict[str, Rule] = {one.id: one for group in GROUPS for one in vars(group).values() if isinstance(one, Rule)}
