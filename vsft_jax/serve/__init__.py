"""A model behind an OpenAI-compatible chat endpoint.

In: a `Run` and HTTP requests. Out: answers, each with the frames that its videos were shown with.

errors.py       what a client is told when something cannot be done
media.py        where the pictures and clips of a request lie, and which may be read
requests.py     a request's JSON to conversation and settings
engine.py       conversations to answers, a batch at a time, as in evaluation
batching.py     requests that wait together become a batch
transcript.py   an answer as it comes, cut where the request asks for it
replies.py      answers to JSON and to events of a stream
app.py          the routes
server.py       the address, the signals: `serve`
"""

from vsft_jax.serve.server import serve

__all__ = ["serve"]
