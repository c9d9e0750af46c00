"""A chat template's trial: it is compiled and renders a few conversations in a process that the
kernel ends when it takes too long or too much, before anything of it runs in ours."""

import functools
import json
import subprocess
import sys

from input_pipeline.text import sandbox

_PATIENCE_S = 120  # for a process that gets no processor; its own bounds are sandbox's


@functools.lru_cache(maxsize=32)
def fault_of(source: str, renders: str) -> str:
    """What is wrong with a template, "" where nothing is.

    source: in Jinja. renders: a JSON list of the variables of each rendering.
    """
    tried = subprocess.Popen(
        [sys.executable, "-P", sandbox.__file__],  # -P: finds packages as we do
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # what is typed at the terminal is meant for us
    )
    try:
        asked = json.dumps({"source": source, "renders": json.loads(renders)})
        said, words = tried.communicate(asked.encode(), _PATIENCE_S)
    except subprocess.TimeoutExpired:
        return f"takes more than {_PATIENCE_S} s"
    finally:
        tried.kill()
        tried.wait()
    try:
        answer = json.loads(said)
    except ValueError:
        if tried.returncode < 0:
            return f"takes more than {2 * sandbox.CPU_SECONDS} s of processor time, or crashes"
        last = words.decode(errors="replace").strip().rpartition("\n")[2]
        return f"cannot be tried: {last or f'exit code {tried.returncode}'}"
    return answer["fault"]
