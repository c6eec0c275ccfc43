"""Requests to addresses that users give (webhooks, imports, avatars) which can't reach the inside of the network.

The lifespan makes `app.state.outgoing = Outgoing()` and ends with `await app.state.outgoing.aclose()`.

    outgoing: Outgoing = request.app.state.outgoing
    answer = await outgoing.fetch("GET", body.url)

Don't await it while a database transaction is open.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2
import structlog
from anyio import CapacityLimiter, to_thread

from .errors import AppError, Invalid

log = structlog.get_logger(__name__)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOKUPS_AT_ONCE = 10
_SPECIAL_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/3",
        # Azure's platform answers virtual machines here.
        "168.63.129.16/32",
    )
)  # fmt: skip
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
# Protocol assignments with Teredo, documentation, and 6to4, which holds an IPv4 address.
_SPECIAL_V6 = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class UnsafeUrl(Invalid):
    """The same words for all reasons: an answer that tells them apart would map the network."""

    code, default_detail = "unsafe_url", "This URL is not accepted"


class FetchFailed(AppError):
    status, code, default_detail = 502, "fetch_failed", "The other server gave no usable answer"


@dataclass(frozen=True)
class Policy:
    """Where requests may go. `also_allowed` opens networks that are not public, for a test or a known neighbour;
    `also_refused` closes public ones, such as the service's own."""

    schemes: frozenset[str] = frozenset({"https"})
    ports: frozenset[int] = frozenset({443})
    also_allowed: tuple[Network, ...] = ()
    also_refused: tuple[Network, ...] = ()

    def allows(self, address: Address) -> bool:
        address = _unwrapped(address)
        if _in(address, self.also_allowed):
            return True
        return is_public(address) and not _in(address, self.also_refused)


@dataclass(frozen=True)
class Fetched:
    status: int
    headers: httpx2.Headers
    content: bytes


def is_public(address: Address) -> bool:
    """On the internet. The lists are written out, as `is_global` differs between releases of Python."""
    address = _unwrapped(address)
    if isinstance(address, ipaddress.IPv4Address):
        return not _in(address, _SPECIAL_V4)
    return address in _GLOBAL_V6 and not _in(address, _SPECIAL_V6)


class Outgoing:
    """One for the process; the client stays inside, so that no request escapes the bounds."""

    def __init__(self, policy: Policy | None = None, verify: ssl.SSLContext | bool = True) -> None:
        self._guard = _Guard(policy or Policy())
        self._client = httpx2.AsyncClient(
            # With a transport of its own it uses no proxy of the environment, which would resolve the name again.
            transport=_PinnedTransport(self._guard, verify),
            timeout=httpx2.Timeout(5, connect=3),
            max_redirects=3,
            headers={"Accept-Encoding": "identity", "User-Agent": "service"},
            # What one user's server sets is not for the next user's request.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = 1_000_000,
        total_s: float = 10,
        follow_redirects: bool = False,
    ) -> Fetched:
        """The whole answer, whatever its status. Each redirect that is followed is checked as the first URL was.

        Raises UnsafeUrl, and FetchFailed for all that goes wrong on the way: no connection, TLS, too slow, too large.
        """
        asked = self._client.stream(method, url, content=content, headers=headers, follow_redirects=follow_redirects)
        try:
            async with asyncio.timeout(total_s), asked as response:
                return Fetched(response.status_code, response.headers, await _read(response, max_bytes))
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            raise UnsafeUrl from None
        except (httpx2.HTTPError, TimeoutError) as error:
            # Its text may hold the URL, and that a secret of the user.
            log.info("outgoing request failed", error=type(error).__name__)
            raise FetchFailed from None

    async def check(self, url: str, total_s: float = 5) -> None:
        """Raise UnsafeUrl where `fetch` would now: an early answer when a URL is stored, in place of no later check."""
        try:
            async with asyncio.timeout(total_s):
                await self._guard.addresses(httpx2.URL(url))
        except (httpx2.InvalidURL, TimeoutError):
            raise UnsafeUrl from None

    async def aclose(self) -> None:
        await self._client.aclose()


class _Guard:
    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        # Look-ups that hang must not take all threads.
        self.limiter = CapacityLimiter(LOOKUPS_AT_ONCE)

    async def addresses(self, url: httpx2.URL) -> list[Address]:
        """All addresses of the URL's host. One that is not allowed refuses them all."""
        port = url.port or {"https": 443, "http": 80}.get(url.scheme)
        if url.scheme not in self.policy.schemes or port not in self.policy.ports or url.userinfo or not url.host:
            raise UnsafeUrl
        found = await self._resolve(url.raw_host.decode("ascii"))
        if not found or not all(self.policy.allows(address) for address in found):
            raise UnsafeUrl
        return found

    async def _resolve(self, host: str) -> list[Address]:
        """What a connection would use, so that `0x7f.1` and `2130706433` show what they are."""

        def look_up() -> list[Address]:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            return [ipaddress.ip_address(str(where[0])) for *_, where in found]

        try:
            return await to_thread.run_sync(look_up, limiter=self.limiter, abandon_on_cancel=True)
        except (OSError, UnicodeError):
            raise UnsafeUrl from None


class _PinnedTransport(httpx2.AsyncBaseTransport):
    """Connects to the address that was checked: a second look-up could give another (DNS rebinding)."""

    def __init__(self, guard: _Guard, verify: ssl.SSLContext | bool) -> None:
        self.guard = guard
        # Connections are kept by address, and one name's must not be used for another name at the same address.
        limits = httpx2.Limits(max_connections=50, max_keepalive_connections=0)
        self.inner = httpx2.AsyncHTTPTransport(verify=verify, limits=limits)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        failed: httpx2.TransportError = httpx2.ConnectError("no address")
        for address in await self.guard.addresses(request.url):
            try:
                return await self.inner.handle_async_request(_pinned(request, address))
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failed = error
        raise failed

    async def aclose(self) -> None:
        await self.inner.aclose()


def _pinned(request: httpx2.Request, address: Address) -> httpx2.Request:
    """The Host header stays, and TLS asks for and checks the name in the URL."""
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.raw_host.decode("ascii")},
    )


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that is only another form of it."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


async def _read(response: httpx2.Response, max_bytes: int) -> bytes:
    # A few compressed bytes may become gigabytes; none were asked for.
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise httpx2.DecodingError("compressed although not asked for")
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > max_bytes:
            raise httpx2.DecodingError("too large")
    return bytes(content)
