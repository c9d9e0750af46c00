"""What ends a job that would wait for ever, each with one line.

In: what the main thread waits for. Out: `Watchdog` ends a process whose wait takes too long;
`Peers` ends the processes of a job when one of them died.
"""

from vsft_jax.train.watchdog.peers import Peers
from vsft_jax.train.watchdog.waits import EXIT_CODE, Watchdog

__all__ = ["EXIT_CODE", "Peers", "Watchdog"]
