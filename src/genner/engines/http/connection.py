"""Single calls to a server: one POST, one reply or one `Failed`; the same for the questions about the server itself."""

import asyncio
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import httpx2

from genner.engines.http.api_key import ApiKey
from genner.engines.http.backoff import retry_after
from genner.engines.http.failures import NO_CONNECTION, TIME_OUT, Failed, Transient, of_status, unreachable
from genner.engines.http.options import HttpOptions
from genner.engines.http.reply import InReply, Reply, ReplyLimits, error_said, read, whole
from genner.engines.http.server import Answer
from genner.errors import UsageError

QUESTION_TIME = 30.0  # seconds for what a server says of itself


def transport_of(host: str) -> dict[str, Any]:
    """Arguments of an httpx2 client for calls to a host. Of the variables of the environment it takes those that name
    certificates, and those of a proxy unless the host is this machine, which no proxy knows."""
    if not _is_local(host):
        return {}
    certificates = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    verify = ssl.create_default_context(cafile=certificates[0], capath=certificates[1]) if any(certificates) else True
    return {"trust_env": False, "verify": verify}


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def environment_named() -> Iterator[None]:
    """Around the making of a client. Raises `UsageError` for proxies and certificates that are not usable."""
    try:
        yield
    except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
        raise UsageError(
            f"proxies or certificates that the environment names cannot be used ({error}); correct or unset the "
            "variables HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
        ) from None


class Connection:
    """Calls to one server, with its key, its time-outs and its limit of open connections. Belongs to one event loop."""

    def __init__(self, options: HttpOptions, key: ApiKey) -> None:
        self.options, self.key = options, key
        self.seen = False
        """Whether the server has answered a request."""
        at_once = options.open_at_once()
        with environment_named():
            self._client = httpx2.AsyncClient(
                auth=key,
                timeout=httpx2.Timeout(options.read_timeout, connect=options.connect_timeout, pool=None),
                limits=httpx2.Limits(max_connections=at_once, max_keepalive_connections=at_once),
                headers={"User-Agent": "genner"},
                **transport_of(options.host),
            )

    async def close(self) -> None:
        await self._client.aclose()

    async def get(self, address: str) -> Answer:
        """Ask for an address. Raises `GennerError` if there is no server or it refuses the key, `Transient` while it
        starts."""
        try:
            patience = httpx2.Timeout(QUESTION_TIME, connect=self.options.connect_timeout)
            async with (
                asyncio.timeout(QUESTION_TIME),
                self._client.stream("GET", address, timeout=patience) as response,
            ):
                said = await whole(response)
        except (httpx2.ReadTimeout, TimeoutError):
            raise Transient(TIME_OUT, f"{address} does not answer in time") from None
        except (httpx2.HTTPError, OSError) as error:
            raise unreachable(address, error, self.key.scrub) from None
        if response.status_code in (401, 402, 403, 429) or response.status_code >= 500:
            said = self.key.scrub(said)
            self._refuse(response, said, address)
        try:
            return Answer(response.status_code, json.loads(said))
        except (ValueError, RecursionError):
            return Answer(response.status_code, None)

    async def post(self, address: str, body: Mapping[str, Any], reply: Reply, limits: ReplyLimits) -> None:
        """Send a request and read its answer into `reply`, which keeps what was read when this raises.

        Raises `Failed` for this request, `GennerError` for what concerns all.
        """
        try:
            await self._post(address, body, reply, limits)
        except Failed as failed:
            failed.reason = self.key.scrub(failed.reason)
            raise
        finally:
            reply.text, reply.model = self.key.hide(reply.text), self.key.hide(reply.model)

    async def _post(self, address: str, body: Mapping[str, Any], reply: Reply, limits: ReplyLimits) -> None:
        patience = self.options.total_timeout
        try:
            async with (
                asyncio.timeout(patience),
                self._client.stream("POST", address, json=body) as response,
            ):
                if response.status_code != 200:
                    self._refuse(response, self.key.scrub(await whole(response)), address)
                await read(response, reply, limits)
        except httpx2.ConnectTimeout:
            raise Transient(NO_CONNECTION, "the server takes no connection in time") from None
        except httpx2.TimeoutException:
            silence = self.options.read_timeout
            raise Transient(TIME_OUT, f"the server was silent for {silence:g} s (read_timeout)") from None
        except TimeoutError:
            raise Transient(TIME_OUT, f"the answer took more than {patience:g} s (total_timeout)") from None
        except InReply as error:
            said = self.key.scrub(error.said)
            raise of_status(error.status, said, None, address, self.key.advice, self.seen) from None
        except httpx2.ConnectError as error:
            if isinstance(error.__cause__, ssl.SSLError):
                raise unreachable(address, error, self.key.scrub) from None
            raise Transient(NO_CONNECTION, f"no connection: {error}") from None
        except (httpx2.SSEError, httpx2.DecodingError) as error:
            raise Transient("broken", f"the server's reply cannot be read: {error}") from None
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            said = str(error) or type(error).__name__
            raise Transient("cut connection", f"the connection was cut: {said}") from None
        self.seen = True

    def _refuse(self, response: httpx2.Response, said: str, address: str) -> None:
        """Raise the error for a status other than 200; `said`: the body, without the key."""
        told = error_said(said)
        if location := self.key.scrub(response.headers.get("location", "")):
            told = f"to {location}"
        wait = retry_after(response.headers)
        raise of_status(response.status_code, told, wait, address, self.key.advice, self.seen) from None
