"""The front door: a command line in, a job done or one readable line out.

arguments.py    flags and what is wrong with them; answers --help without importing anything else
configs.py      a config file, or the config that a run saved, with `--config.key=value` on top
workdirs.py     folders that can be worked in
compiled.py     compiled functions that a folder keeps, without damaged ones
jobs.py         what each job does, leaves behind, and what to type next
chat.py         a conversation in the terminal
console.py      log lines people can read, without other libraries' noise
door.py         all of it in order; errors to lines and exit codes

Jobs are imported when they run.
"""

from front.door import main

__all__ = ["main"]
