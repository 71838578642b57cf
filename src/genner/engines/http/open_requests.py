"""How many requests are open at one time: fewer after time-outs, as a server may answer less at a time than it takes.

A request that waits in the server's queue behind others looks like a silent server. Those that time out so are
repeated with fewer beside them.
"""

import asyncio
import logging

log = logging.getLogger(__name__)


class OpenRequests:
    """A limit of open requests, as an asynchronous context around each. Belongs to one event loop.

    Args:
        most: the limit.
        adapts: whether time-outs lower it.
    """

    def __init__(self, most: int, adapts: bool) -> None:
        self.most = most
        self._adapts = adapts
        self._free = asyncio.Semaphore(most)
        self._surplus = 0  # open requests above the limit, whose places are not taken again
        self._lowered = float("-inf")  # when, by the loop's clock

    async def __aenter__(self) -> None:
        await self._free.acquire()

    async def __aexit__(self, *_: object) -> None:
        if self._surplus:
            self._surplus -= 1
        else:
            self._free.release()

    def timed_out(self, begun: float) -> None:
        """Halve the limit after a time-out of a call begun at this time, unless it was halved since then: calls that
        waited side by side count once."""
        if not self._adapts or self.most == 1 or begun < self._lowered:
            return
        self._lowered = asyncio.get_running_loop().time()
        lower = self.most // 2
        log.warning(
            "the server lets requests wait too long: %d are open at a time from now on, not %d; set it with "
            "--engine-option concurrency=N, or allow longer waits with read_timeout and total_timeout",
            lower,
            self.most,
        )
        self._surplus += self.most - lower
        self.most = lower
