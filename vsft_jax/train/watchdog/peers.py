"""The processes of a job tell each other that they live; when one died, the others say so and end.

JAX notices it too, but later, and ends them with a dump of C++ in which the cause has to be found.
Where process 0 dies, that dump comes at once: it keeps the connections of all.
"""

import socket
import threading
import time
from types import TracebackType
from typing import Any

import jax

from vsft_jax.train.watchdog.waits import leave, this_process

SIGN_SECONDS = 5.0
DEAD_SECONDS = 30.0  # without a sign of life
_SIGNS, _VERDICT = "vsft/signs", "vsft/verdict"  # keys in the store of JAX's coordination service


class Peers:
    """A context in which every process gives signs of life through JAX's coordination service.

    Process 0 reads them and says which process died, or left with an error that the others do not
    have; all that are left end with that line, which they would otherwise wait for ever for.
    """

    def __init__(self) -> None:
        self._alone = jax.process_count() == 1
        self._ended = threading.Event()
        self._store: Any = None  # of JAX's coordination service
        self._heard: dict[str, tuple[str, float]] = {}  # last sign by process, and since when

    def __enter__(self) -> "Peers":
        if not self._alone:
            from jax._src import distributed  # JAX has no public way to its service's store

            self._store = distributed.global_state.client
            threading.Thread(target=self._watch, name="peers", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._alone:
            return
        if isinstance(error, jax.errors.JaxRuntimeError):
            # Perhaps since another process died: wait until that is known, and leave with its line.
            time.sleep(DEAD_SECONDS + 3 * SIGN_SECONDS)
        self._ended.set()
        if error is None or isinstance(error, SystemExit | KeyboardInterrupt):
            self._sign("left")
            return
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if jax.process_index() == 0:  # which takes the service with it
            self._store.key_value_set(_VERDICT, f"{this_process()} ended with {said}", True)
            time.sleep(2 * SIGN_SECONDS)
        else:
            self._sign(f"ended with {said}")

    def _sign(self, sign: str) -> None:
        host = socket.gethostname()
        self._store.key_value_set(f"{_SIGNS}/{jax.process_index()}", f"{host}\n{sign}", True)

    def _watch(self) -> None:
        count = 0
        while not self._ended.wait(SIGN_SECONDS):
            count += 1
            try:
                self._sign(f"alive {count}")
                if jax.process_index() == 0 and (verdict := self._judge()):
                    self._store.key_value_set(_VERDICT, verdict, True)
                    time.sleep(2 * SIGN_SECONDS)  # until the others have read it
                    leave(verdict)
                elif verdict := self._verdict():
                    leave(f"{this_process()} ends: {verdict}")
            except jax.errors.JaxRuntimeError:  # the service is gone; JAX ends the process
                return

    def _judge(self) -> str | None:
        """Which process died, if one did."""
        now = time.monotonic()
        for key, sign in self._store.key_value_dir_get(_SIGNS):
            if self._heard.get(key, ("", 0.0))[0] != sign:
                self._heard[key] = (sign, now)
            since = now - self._heard[key][1]
            host, _, said = sign.partition("\n")
            if since > DEAD_SECONDS and said != "left":
                of = f"process {key.rpartition('/')[2]} of {jax.process_count()} on host {host}"
                if said.startswith("alive"):
                    said = f"gave no sign of life for {since:.0f} s: it died"
                return f"{of} {said}; started again, the run goes on from its newest checkpoint"
        return None

    def _verdict(self) -> str | None:
        found = dict(self._store.key_value_dir_get(_VERDICT.rpartition("/")[0]))
        return found.get(_VERDICT)
