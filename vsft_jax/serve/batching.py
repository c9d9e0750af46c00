"""Requests that wait together become a batch."""

import asyncio
import collections
import concurrent.futures
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from absl import logging

from vsft_jax.serve.errors import RequestError

Asked = TypeVar("Asked")
Said = TypeVar("Said")

# Clients that ask in a loop all come back at once when a batch is done: a moment's wait has them in
# one batch, where otherwise the first would be one of its own and keep the others waiting.
_TOGETHER_S = 0.02


class Batcher(Generic[Asked, Said]):
    """Answers what is asked in batches, one batch at a time, in the order of arrival.

    answer: of a batch, in a thread: an answer or an error for each. alike: what a batch has in
    common. most: in a batch. waiting: more than so many that wait are refused.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Asked]], Sequence[Said | RequestError]],
        alike: Callable[[Asked], Hashable],
        *,
        most: int,
        waiting: int,
    ):
        self._answer, self._alike = answer, alike
        self._most, self._limit = most, waiting
        self._waiting: collections.deque[tuple[Asked, asyncio.Future[Said]]] = collections.deque()
        self._arrived = asyncio.Event()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "answers")

    @property
    def waiting(self) -> int:
        """How many wait, those left out that were given up."""
        return sum(not said.done() for _, said in self._waiting)

    def check_room(self) -> None:
        """Raises RequestError where as many wait as may."""
        if self.waiting >= self._limit:
            raise RequestError(
                f"{self._limit} requests wait already (config.serve.waiting): ask again later",
                code="rate_limit_exceeded",
                status=429,
            )

    async def ask(self, asked: Asked) -> Said:
        """The answer. Whoever is cancelled while waiting is answered no more. Raises
        RequestError."""
        self.check_room()
        said: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, said))
        self._arrived.set()
        return await said

    async def work(self) -> None:
        """Answers for as long as it is not cancelled."""
        while True:
            await self._arrived.wait()
            await asyncio.sleep(_TOGETHER_S)
            batch = self._next_batch()
            if not batch:
                continue
            asked = [each for each, _ in batch]
            found: Sequence[Said | RequestError]
            try:
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(self._thread, self._answer, asked)
            except Exception:  # of this batch: the next one is answered
                logging.exception("a batch of %d requests failed", len(batch))
                error = RequestError("the model could not answer: see the server's log", status=500)
                found = [error] * len(batch)
            for (_, said), answer in zip(batch, found, strict=True):
                if said.done():
                    continue
                if isinstance(answer, RequestError):
                    said.set_exception(answer)
                else:
                    said.set_result(answer)

    def close(self) -> None:
        """No more answers; waits for the batch that runs."""
        self._thread.shutdown(cancel_futures=True)

    def _next_batch(self) -> list[tuple[Asked, "asyncio.Future[Said]"]]:
        """The longest waiting request and those like it; the others stay, in their order."""
        batch: list[tuple[Asked, asyncio.Future[Said]]] = []
        stay = []
        for asked, said in self._waiting:
            if said.done():
                continue
            if len(batch) < self._most and (
                not batch or self._alike(asked) == self._alike(batch[0][0])
            ):
                batch.append((asked, said))
            else:
                stay.append((asked, said))
        self._waiting = collections.deque(stay)
        if not stay:
            self._arrived.clear()
        return batch
