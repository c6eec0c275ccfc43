"""Secrets, tokens, passwords, cookies."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..model import Hit, rule
from ..source import FUNCTIONS, Function, Module, argument, elements, has_unknown_keywords, keyword
from ..web import RESPONSE, SETTINGS, dependency, depends, injected, mark_of, named, names_in

SECRET = re.compile(
    r"(?:^|_)(?:secret|(?:secret|jwt|signing|encryption|private|hmac)_?key|(?:jwt|session|token|app|cookie)_?secret)$",
    re.IGNORECASE,
)
ENVIRONMENT = frozenset({"os.getenv", "os.environ.get"})
FIELDS = named("pydantic pydantic.fields", "Field")
SECRET_TYPES = named("pydantic pydantic.types", "SecretStr", "SecretBytes")
# Assignments to names like these are ruff's S105.
SEEN_BY_RUFF = re.compile(r"(?:^|_)(?:pas+wo?r?d|pass(?:phrase)?|pwd|token|secrete?)(?:$|_)", re.IGNORECASE)
JWT = frozenset({"jwt.decode", "jwt.encode", "jwt.api_jwt.decode", "jwt.api_jwt.encode"})
JOSE = frozenset({"jose.jwt.decode", "jose.jwt.encode"})
BEARER = named("fastapi.security fastapi.security.http", "HTTPBearer")
HASHERS = (
    "argon2.PasswordHasher", "passlib.context.CryptContext", "passlib.hash.argon2", "passlib.hash.bcrypt",
    "pwdlib.PasswordHash", "pwdlib.hashers.argon2.Argon2Hasher", "pwdlib.hashers.bcrypt.BcryptHasher",
)  # fmt: skip
SLOW_METHODS = frozenset({"hash", "verify", "verify_and_update"})
SLOW_FUNCTIONS = frozenset({
    "bcrypt.hashpw", "bcrypt.checkpw", "bcrypt.kdf", "hashlib.pbkdf2_hmac", "hashlib.scrypt",
    "passlib.hash.bcrypt.hash", "passlib.hash.bcrypt.verify", "passlib.hash.argon2.hash", "passlib.hash.argon2.verify",
})  # fmt: skip
CONTEXT_MANAGERS = frozenset({"contextlib.asynccontextmanager"})
QUICK_HASHES = frozenset(
    f"hashlib.{name}" for name in ("sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_512", "blake2b")
)
SLOW_WORDS = ("bcrypt", "argon2", "pbkdf2", "scrypt", "pwned", "hibp")
KEY_SCHEMES = named("fastapi.security fastapi.security.api_key", "APIKeyHeader", "APIKeyQuery", "APIKeyCookie")
BASIC = named("fastapi.security fastapi.security.http", "HTTPBasicCredentials")
SESSION_COOKIE = re.compile(r"(?:^|[_-])(?:session|sessionid|session_id|sid|token|jwt|auth)$", re.IGNORECASE)
CAUGHT_FOR_CLAIMS = {"builtins.Exception", "builtins.BaseException", "builtins.KeyError", "builtins.LookupError"}
CAUGHT_FOR_VALUES = {"builtins.Exception", "builtins.BaseException", "builtins.ValueError"}
CONVERTERS = frozenset({"builtins.int", "uuid.UUID"})


@rule(
    "FR301",
    "a secret has a default",
    why="Where the variable is missing the service runs with a key that everybody who reads the code has.",
    mend="No default: os.environ[...], or a required SecretStr = Field(min_length=32).",
)
def default_secret(module: Module) -> Iterator[Hit]:
    if module.is_test:
        return
    for call in module.calls():
        if module.resolve(call.func) in ENVIRONMENT:
            name, default = module.constant(argument(call, 0, "key")), argument(call, 1, "default")
            if isinstance(name, str) and SECRET.search(name) and default is not None and _is_guessable(module, default):
                yield Hit(default, f"the secret `{name}` has a default")
    for owner in module.nodes(ast.ClassDef):
        if any(module.is_a(module.resolve(base), SETTINGS) for base in owner.bases):
            for one in owner.body:
                if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and SECRET.search(one.target.id):
                    if one.value is not None and _is_guessable(module, _default_of_field(module, one.value)):
                        yield Hit(one, f"the secret `{one.target.id}` has a default")


def _default_of_field(module: Module, value: ast.expr) -> ast.expr | None:
    default: ast.expr | None = value
    if isinstance(value, ast.Call) and module.resolve(value.func) in FIELDS:
        default = argument(value, 0, "default")
    if isinstance(default, ast.Call) and module.resolve(default.func) in SECRET_TYPES:
        return default.args[0] if default.args else None
    return default


def _is_guessable(module: Module, node: ast.expr | None) -> bool:
    """A text in the code. An empty one is a mark for unset."""
    value = module.constant(node)
    return isinstance(value, (str, bytes)) and len(value) > 0


@rule(
    "FR302",
    "tokens are signed with a key in the code",
    why="Who reads the code signs tokens as any user, and the key can't be changed without a release.",
    mend="Read it from the settings: a required SecretStr of at least 32 characters.",
)
def key_in_code(module: Module) -> Iterator[Hit]:
    if module.is_test:
        return
    for call in module.calls():
        if module.resolve(call.func) in JWT | JOSE:
            given = argument(call, 1, "key")
            name = module.resolve(given).rpartition(".")[2]
            if _is_guessable(module, given) and not SEEN_BY_RUFF.search(name) and not _is_unverified(module, call):
                if "PUBLIC KEY" not in str(module.constant(given)):
                    yield Hit(given or call)


@rule(
    "FR303",
    "a token is decoded without `algorithms`",
    why="PyJWT refuses that; other libraries then let the token's own header choose how it is verified.",
    mend='algorithms=["HS256"], never from the token.',
)
def no_algorithms(module: Module) -> Iterator[Hit]:
    for call in _decodings(module, JWT | JOSE):
        if (
            argument(call, 2, "algorithms") is None
            and not has_unknown_keywords(call)
            and not _is_unverified(module, call)
        ):
            yield Hit(call)


def _decodings(module: Module, names: frozenset[str]) -> Iterator[ast.Call]:
    for call in module.calls():
        name = module.resolve(call.func)
        if name in names and name.endswith(".decode"):
            yield call


def _options(module: Module, call: ast.Call) -> object:
    """The value of `options=`, {} where it is not given, None where it can't be told."""
    given = keyword(call, "options")
    if given is None:
        return None if has_unknown_keywords(call) else {}
    node = module.assigned(given) if isinstance(given, ast.Name) else given
    if not isinstance(node, ast.Dict):
        return None
    options: dict[object, object] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            return None
        options[module.constant(key)] = (
            module.constant(value) if not isinstance(value, (ast.List, ast.Tuple)) else value
        )
    return options


def _is_unverified(module: Module, call: ast.Call) -> bool:
    options = _options(module, call)
    return isinstance(options, dict) and options.get("verify_signature") is False


@rule(
    "FR304",
    "a token without `exp` is accepted",
    why="PyJWT checks an expiry only if there is one; a token without it lives for ever.",
    mend='options={"require": ["exp", "sub"]}',
    level="warning",
)
def no_required_exp(module: Module) -> Iterator[Hit]:
    if module.is_test:
        return
    for call in _decodings(module, JWT):
        options = _options(module, call)
        if not isinstance(options, dict) or options.get("verify_signature") is False:
            continue
        if options.get("verify_exp") is False or "exp" in _required(module, options):
            continue
        if not _reads_claim(module, call, "exp"):
            yield Hit(call)


def _required(module: Module, options: dict[object, object]) -> set[object]:
    """The claims in `require`; where they can't be told, it is taken that exp is among them."""
    given = options.get("require", ())
    if isinstance(given, (ast.List, ast.Tuple)):
        return {module.constant(one) for one in given.elts} | (
            {"exp"} if any(isinstance(one, ast.Starred) for one in given.elts) else set()
        )
    if isinstance(given, (list, tuple, set)):
        return set(given)
    return {"exp"}


def _reads_claim(module: Module, call: ast.Call, claim: str) -> bool:
    function = module.enclosing(call)
    return function is not None and any(
        isinstance(node, ast.Constant) and node.value == claim for node in module.inside(function)
    )


@rule(
    "FR305",
    "a token's signature is not verified",
    why="Anybody can write such a token.",
    mend="Give the key and algorithms=; read a header before that with get_unverified_header.",
)
def unverified(module: Module) -> Iterator[Hit]:
    if module.is_test:
        return
    for call in _decodings(module, JWT | JOSE):
        if _is_unverified(module, call) and (function := module.enclosing(call)) and function in injected(module):
            others = [one for one in _decodings(module, JWT | JOSE) if module.enclosing(one) is function]
            if all(_is_unverified(module, one) for one in others):
                yield Hit(call)


@rule(
    "FR306",
    "`HTTPBearer` gives an object, not a string",
    why="Decoding HTTPAuthorizationCredentials as a token fails: every request is a 401 or a 500.",
    mend="credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())], then credentials.credentials.",
)
def bearer_as_text(module: Module) -> Iterator[Hit]:
    for function in module.functions():
        for one in module.parameters(function):
            mark = mark_of(module, one)
            if mark and module.type_of(one.annotation) == "builtins.str":
                given = argument(mark, 0, "dependency")
                if module.made_by(given) in BEARER:
                    yield Hit(one.node, f"`{one.name}` is an HTTPAuthorizationCredentials, not a string")


@rule(
    "FR307",
    "the claim `sub` is not a string",
    why="PyJWT encodes a number and refuses the token when it decodes it: no login works.",
    mend='"sub": str(user.id)',
)
def number_as_subject(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        if (
            module.resolve(call.func) not in JWT | JOSE
            or not isinstance(call.func, ast.Attribute)
            or call.func.attr != "encode"
        ):
            continue
        given = argument(call, 0, "payload") or argument(call, 0, "claims")
        payload = module.assigned(given) if given else None
        if isinstance(payload, ast.Dict):
            for key, value in zip(payload.keys, payload.values, strict=True):
                if key is not None and module.constant(key) == "sub" and _is_number(module, value):
                    yield Hit(value)


def _is_number(module: Module, node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int)
    if isinstance(node, ast.Attribute):
        return _field_type(module, module.made_by(node.value), node.attr) == "builtins.int"
    return module.made_by(node) == "builtins.int"


def _field_type(module: Module, owner: str, name: str) -> str:
    """The declared type of a class's attribute: of a model, a dataclass, or a table with Mapped."""
    defined = module.definition(owner)
    if defined is None or not isinstance(defined.node, ast.ClassDef):
        return ""
    for one in defined.node.body:
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and one.target.id == name:
            return defined.module.type_of(one.annotation)
    return ""


@rule(
    "FR308",
    "a claim is read where its fault is not caught",
    why="A token that lacks the claim, or has another type in it, is a 500 instead of a 401.",
    mend="Read and convert inside the try; except (PyJWTError, KeyError, ValueError, TypeError).",
)
def claim_outside_try(module: Module) -> Iterator[Hit]:
    for call in _decodings(module, JWT):
        function = module.enclosing(call)
        parent = module.parents.get(call)
        if (
            function not in injected(module)
            or not isinstance(parent, ast.Assign)
            or not isinstance(parent.targets[0], ast.Name)
        ):
            continue
        options = _options(module, call)
        required = _required(module, options) if isinstance(options, dict) else None
        if required is None or function is None:
            continue
        yield from _unsafe_reads(module, function, parent.targets[0].id, required)


def _unsafe_reads(module: Module, function: ast.AST, payload: str, required: set[object]) -> Iterator[Hit]:
    for node in module.inside(function):
        if not (isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == payload):
            continue
        claim = module.constant(node.slice)
        if not isinstance(claim, str) or not isinstance(node.ctx, ast.Load):
            continue
        user = module.parents.get(node)
        converts = isinstance(user, ast.Call) and module.resolve(user.func) in CONVERTERS and node in user.args
        if (
            claim not in required
            and not _is_caught(module, node, CAUGHT_FOR_CLAIMS)
            and not _is_asked(module, function, payload)
        ):
            yield Hit(node, f"`{ast.unparse(node)}` may be missing, and KeyError is not caught")
        elif converts and not _is_caught(module, node, CAUGHT_FOR_VALUES):
            yield Hit(node, f"converting `{ast.unparse(node)}` may fail, and ValueError is not caught")


def _is_asked(module: Module, function: ast.AST, payload: str) -> bool:
    """`if "sub" not in payload` and `payload.get("sub")` show that the author thought of it."""
    return any(
        (isinstance(node, ast.Compare) and payload in names_in(node))
        or (
            isinstance(node, ast.Attribute)
            and node.attr == "get"
            and isinstance(node.value, ast.Name)
            and node.value.id == payload
        )
        for node in module.inside(function)
    )


def _is_caught(module: Module, node: ast.AST, wanted: set[str]) -> bool:
    child = node
    for parent in module.ancestors(node):
        if isinstance(parent, FUNCTIONS):
            return False
        if isinstance(parent, ast.Try) and child in parent.body:
            for handler in parent.handlers:
                types = elements(handler.type) if handler.type else []
                if not types or {module.resolve(one) for one in types} & wanted:
                    return True
        child = parent
    return False


@rule(
    "FR309",
    "a password is hashed on the event loop",
    why="argon2 and bcrypt take 50 to 300 ms; in `async def` every other request waits for that long.",
    mend="await anyio.to_thread.run_sync(hasher.hash, password, limiter=...)",
)
def hash_on_loop(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        function = module.enclosing(call)
        if not isinstance(function, ast.AsyncFunctionDef) or isinstance(module.parents.get(call), ast.Await):
            continue
        if not _serves_nobody(module, function) and (_is_slow(module, call) or _calls_slow(module, call)):
            yield Hit(call, f"`{ast.unparse(call.func)}` hashes a password on the event loop")


def _serves_nobody(module: Module, function: ast.AsyncFunctionDef) -> bool:
    """Tests, scripts that run a loop of their own, and a lifespan: no request waits there."""
    is_script = any(module.resolve(call.func) in ("asyncio.run", "anyio.run") for call in module.calls())
    return (
        module.is_test or is_script or any(module.resolve(one) in CONTEXT_MANAGERS for one in function.decorator_list)
    )


def _is_slow(module: Module, call: ast.Call) -> bool:
    func = call.func
    if module.resolve(func) in SLOW_FUNCTIONS:
        return True
    if not isinstance(func, ast.Attribute) or func.attr not in SLOW_METHODS:
        return False
    made = module.made_by(func.value)
    return any(made == name or made.startswith(f"{name}.") for name in HASHERS)


def _calls_slow(module: Module, call: ast.Call, depth: int = 0) -> bool:
    """Whether it calls a plain function of the project that hashes."""
    defined = _function(module, call)
    if defined is None or depth > 3:
        return False
    owner, function = defined
    inner = [node for node in owner.inside(function) if isinstance(node, ast.Call)]
    return any(_is_slow(owner, one) or _calls_slow(owner, one, depth + 1) for one in inner)


def _function(module: Module, call: ast.Call) -> tuple[Module, Function] | None:
    if isinstance(call.func, ast.Name):
        found = module.find(call.func.id, call.func)
        if len(found) == 1 and isinstance(found[0].node, ast.FunctionDef):
            return module, found[0].node
    defined = module.definition(module.resolve(call.func))
    return (defined.module, defined.node) if defined and isinstance(defined.node, ast.FunctionDef) else None


@rule(
    "FR310",
    "a password is hashed with a fast function",
    why="A stolen table of such hashes is guessed at billions of tries a second.",
    mend="pwdlib[argon2]: PasswordHash.recommended().hash(password)",
)
def quick_hash(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        if module.resolve(call.func) in QUICK_HASHES and call.args and _is_password(call.args[0]):
            function = module.enclosing(call)
            around = ast.unparse(function).lower() if function else module.text.lower()
            if not any(word in around for word in SLOW_WORDS):
                yield Hit(call)


def _is_password(node: ast.expr) -> bool:
    names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
    names |= {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}
    return any(
        name.lower() in ("password", "passwd", "plain_password", "raw_password", "new_password") for name in names
    )


@rule(
    "FR311",
    "a secret is compared with `==`",
    why="The comparison stops at the first wrong character, and its time tells how many were right.",
    mend="secrets.compare_digest(a.encode(), b.encode())",
    level="warning",
)
def compared_secret(module: Module) -> Iterator[Hit]:
    for node in module.nodes(ast.Compare):
        function = module.enclosing(node)
        if (
            len(node.ops) != 1
            or not isinstance(node.ops[0], (ast.Eq, ast.NotEq))
            or not isinstance(function, FUNCTIONS)
        ):
            continue
        for side, other in ((node.left, node.comparators[0]), (node.comparators[0], node.left)):
            if _is_sent_secret(module, function, side) and not (isinstance(other, ast.Constant) and not other.value):
                yield Hit(node)
                break


def _is_sent_secret(module: Module, function: Function, node: ast.expr) -> bool:
    if isinstance(node, ast.Attribute) and node.attr == "password":
        return module.made_by(node.value) in BASIC
    if not isinstance(node, ast.Name):
        return False
    for one in module.parameters(function):
        if one.name == node.id and (mark := mark_of(module, one)):
            return module.made_by(argument(mark, 0, "dependency")) in KEY_SCHEMES
    return False


@rule(
    "FR312",
    "a session cookie lacks a protection",
    why="Without httponly a script reads it; without secure it travels in clear text.",
    mend='set_cookie(..., httponly=True, secure=True, samesite="lax")',
)
def bare_cookie(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        func = call.func
        if not (isinstance(func, ast.Attribute) and func.attr == "set_cookie"):
            continue
        if has_unknown_keywords(call) or module.is_test:
            continue
        name = module.constant(argument(call, 0, "key"))
        if not isinstance(name, str) or not SESSION_COOKIE.search(name) or "csrf" in name.lower():
            continue
        if module.is_a(module.made_by(func.value), RESPONSE):
            places = {"secure": 6, "httponly": 7}
            missing = [one for one, place in places.items() if _is_off(argument(call, place, one))]
            if missing:
                yield Hit(call, f"the cookie `{name}` is set without {' and '.join(missing)}")


def _is_off(node: ast.expr | None) -> bool:
    return node is None or (isinstance(node, ast.Constant) and node.value is False)


@rule(
    "FR313",
    "`Depends` gets a call where it needs the function",
    why="A coroutine or generator can't be called: the app fails at import.",
    mend="Depends(get_session), without parentheses.",
)
def called_dependency(module: Module) -> Iterator[Hit]:
    for call in depends(module):
        given = argument(call, 0, "dependency")
        if isinstance(given, ast.Call) and (defined := _any_function(module, given)):
            owner, function = defined
            if isinstance(function, ast.AsyncFunctionDef) or any(
                isinstance(one, ast.Yield) for one in owner.inside(function)
            ):
                yield Hit(given, f"`Depends` gets the result of `{function.name}()`, not the function")


def _any_function(module: Module, call: ast.Call) -> tuple[Module, Function] | None:
    """The function of the project that a call calls, if no decorator could have replaced it."""
    fake = ast.copy_location(ast.Call(func=ast.Name(id="Depends", ctx=ast.Load()), args=[call.func], keywords=[]), call)
    found = dependency(module, fake)
    return found if found and not found[1].decorator_list else None
