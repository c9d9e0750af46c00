"""What the terminal shows: log lines that people can read, of this program alone."""

import logging as standard_logging
import os
import sys
from pathlib import Path

from absl import flags, logging

_GOOGLE = "0x1ae0"  # the PCI vendor of TPUs
# libtpu on a machine without one asks around for these, and complains at length.
_NO_TPU = {"TPU_ACCELERATOR_TYPE": "v5litepod-4", "TPU_WORKER_HOSTNAMES": "localhost"}
_SAID: set[str] = set()  # by this process, of what is said once


def prepare_console() -> None:
    """Sends log lines to stderr, this program's from INFO on and libraries' from WARNING on.

    To call before JAX is imported, since libtpu prints past Python's logging.
    """
    if not _has_tpu():
        for variable, value in _NO_TPU.items():
            os.environ.setdefault(variable, value)
    if not flags.FLAGS.is_parsed():  # the log handler would mention it
        flags.FLAGS(["vsft"])
    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    handler = logging.get_absl_handler()
    handler.addFilter(_is_told)
    _SAID.clear()
    handler.addFilter(_is_new)
    if sys.stderr.isatty():
        handler.setFormatter(_Short(datefmt="%H:%M:%S"))


def _is_told(record: standard_logging.LogRecord) -> bool:
    return record.levelno > standard_logging.INFO or "site-packages" not in record.pathname


def _is_new(record: standard_logging.LogRecord) -> bool:
    """Each cell of a study has the same layout: a line that is marked as said once is."""
    if not getattr(record, "once", False):
        return True
    new = (text := record.getMessage()) not in _SAID
    _SAID.add(text)
    return new


def _has_tpu() -> bool:
    vendors = Path("/sys/bus/pci/devices").glob("*/vendor")
    return any(vendor.read_text().strip() == _GOOGLE for vendor in vendors)


class _Short(standard_logging.Formatter):
    """Time and text: a terminal has no room for more."""

    def formatMessage(self, record: standard_logging.LogRecord) -> str:
        level = "" if record.levelno <= standard_logging.INFO else f"{record.levelname.lower()}: "
        return f"{self.formatTime(record, self.datefmt)} {level}{record.message}"
