"""Requests that wait together become a batch."""

import asyncio
import collections
import concurrent.futures
from collections.abc import AsyncGenerator, Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from absl import logging

from vsft_jax.serve.errors import RequestError

Asked = TypeVar("Asked")
Said = TypeVar("Said")

# Clients that ask in a loop all come back at once when a batch is done: a moment's wait has them in
# one batch, where otherwise the first would be one of its own and keep the others waiting.
_TOGETHER_S = 0.02


class _Line(Generic[Said]):
    """From the thread that answers to who asked. gone: nobody listens any more."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[Said | RequestError] = asyncio.Queue()
        self.gone = False


class Batcher(Generic[Asked, Said]):
    """Answers what is asked in batches, one batch at a time, in the order of arrival.

    answer: of a batch, in a thread: pieces of the answers as they come, each with its place in the
    batch, and an error that ends an answer; the second argument tells whether that of a place is
    wanted still. alike: what a batch has in common. most: in a batch. waiting: more than so many
    that wait are refused.
    """

    def __init__(
        self,
        answer: Callable[
            [Sequence[Asked], Callable[[int], bool]], Iterable[tuple[int, Said | RequestError]]
        ],
        alike: Callable[[Asked], Hashable],
        *,
        most: int,
        waiting: int,
    ):
        self._answer, self._alike = answer, alike
        self._most, self._limit = most, waiting
        self._waiting: collections.deque[tuple[Asked, _Line[Said]]] = collections.deque()
        self._arrived = asyncio.Event()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "answers")

    @property
    def waiting(self) -> int:
        """How many wait, those left out that were given up."""
        return sum(not line.gone for _, line in self._waiting)

    def check_room(self) -> None:
        """Raises RequestError where as many wait as may."""
        if self.waiting >= self._limit:
            raise RequestError(
                f"{self._limit} requests wait already (config.serve.waiting): ask again later",
                code="rate_limit_exceeded",
                status=429,
            )

    async def ask(self, asked: Asked) -> AsyncGenerator[Said]:
        """The pieces of an answer, for as long as they are taken: whoever has enough closes it,
        while waiting too. Raises RequestError."""
        self.check_room()
        line: _Line[Said] = _Line()
        self._waiting.append((asked, line))
        self._arrived.set()
        try:
            while True:
                said = await line.said.get()
                if isinstance(said, RequestError):
                    raise said
                yield said
        finally:
            line.gone = True

    async def work(self) -> None:
        """Answers for as long as it is not cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            await asyncio.sleep(_TOGETHER_S)
            batch = self._next_batch()
            if not batch:
                continue
            asked, lines = [each for each, _ in batch], [line for _, line in batch]
            try:
                await loop.run_in_executor(self._thread, self._run, asked, lines, loop)
            except Exception:  # of this batch: the next one is answered
                logging.exception("a batch of %d requests failed", len(batch))
                for line in lines:
                    line.said.put_nowait(
                        RequestError("the model could not answer: see the server's log", status=500)
                    )

    def close(self) -> None:
        """No more answers; waits for the batch that runs."""
        self._thread.shutdown(cancel_futures=True)

    def _run(
        self,
        asked: Sequence[Asked],
        lines: Sequence[_Line[Said]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        for place, said in self._answer(asked, lambda place: not lines[place].gone):
            loop.call_soon_threadsafe(lines[place].said.put_nowait, said)

    def _next_batch(self) -> list[tuple[Asked, _Line[Said]]]:
        """The longest waiting request and those like it; the others stay, in their order."""
        batch: list[tuple[Asked, _Line[Said]]] = []
        stay = []
        for asked, line in self._waiting:
            if line.gone:
                continue
            if len(batch) < self._most and (
                not batch or self._alike(asked) == self._alike(batch[0][0])
            ):
                batch.append((asked, line))
            else:
                stay.append((asked, line))
        self._waiting = collections.deque(stay)
        if not stay:
            self._arrived.clear()
        return batch
