"""What the terminal shows: log lines that people can read, of this program alone."""

import logging as standard_logging
import os
import sys

from absl import flags, logging


def prepare_console() -> None:
    """Log lines from INFO on to stderr; other libraries are heard from WARNING on.

    To call before JAX and its like are imported: what they print by themselves is settled then.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # of XLA's own lines, errors
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if not flags.FLAGS.is_parsed():  # its log handler would mention that
        flags.FLAGS(["vsft"])
    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    handler = logging.get_absl_handler()
    if _is_ours not in handler.filters:
        handler.addFilter(_is_ours)
    if sys.stderr.isatty():
        handler.setFormatter(_Short(datefmt="%H:%M:%S"))


def _is_ours(record: standard_logging.LogRecord) -> bool:
    """Whether to show a line: a library's only where it warns."""
    if "Unable to initialize backend" in record.getMessage():  # JAX looks for TPUs; there are none
        return False
    return record.levelno > standard_logging.INFO or "site-packages" not in record.pathname


class _Short(standard_logging.Formatter):
    """Time and text: a terminal has no room for more."""

    def formatMessage(self, record: standard_logging.LogRecord) -> str:
        level = "" if record.levelno <= standard_logging.INFO else f"{record.levelname.lower()}: "
        return f"{self.formatTime(record, self.datefmt)} {level}{record.message}"
