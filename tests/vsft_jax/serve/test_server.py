"""A real server, asked by the official client: answers, frames, refusals, and its end."""

import base64
import concurrent.futures
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import openai
import pytest
from PIL import Image

from configs import qwen2_5_vl as published
from tests.conftest import devices
from tests.input_pipeline.media_fixtures import write_clip
from tests.vsft_jax.hf_fixtures import write_model
from vsft_jax.config import Run
from vsft_jax.predict import Question, predict

ROOT = Path(__file__).parents[3]
TOKENS = 8
_SETTINGS = {
    "model.dtype": "float32",
    "model.remat": "none",
    "layout.row_tokens": 512,
    "layout.row_patches": 1024,
    "layout.video_min_pixels": 56 * 56,
    "layout.video_max_pixels": 112 * 112,
    "data.decoder": "threads",
    "eval.batch_rows": 4,
    "eval.max_new_tokens": TOKENS,
    "serve.port": 0,
    "serve.name": "tiny",
    "serve.media_root": "clips",
    "serve.max_tokens": 32,
    "serve.max_request_mb": 1.0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, clips below clips/, and one beside it."""
    folder = tmp_path_factory.mktemp("serve")
    write_model(folder)
    (folder / "clips" / "a b").mkdir(parents=True)
    write_clip(folder / "clips" / "short.mp4", frames=4)
    write_clip(folder / "clips" / "a b" / "long.mp4", frames=24)
    write_clip(folder / "outside.mp4", frames=4)
    (folder / "clips" / "broken.mp4").write_bytes(b"no clip at all" * 50)
    cut = (folder / "clips" / "a b" / "long.mp4").read_bytes()
    (folder / "clips" / "cut.mp4").write_bytes(cut[: len(cut) // 2])
    (folder / "clips" / "link.mp4").symlink_to(folder / "outside.mp4")
    return folder


@pytest.fixture(scope="module")
def run(folder):
    """What the server serves, for `predict`."""
    config = published.get_config(f"path={folder},frames=8")
    for key, value in _SETTINGS.items():
        section, name = key.split(".")
        config[section][name] = value
    return Run(config, folder / "work")


@pytest.fixture(scope="module")
def server(folder):
    """(address, process) of the command as a user types it."""
    (folder / "work").mkdir(exist_ok=True)
    shutil.copytree(folder / "clips", folder / "work" / "clips", symlinks=True)
    options = [f"--config.{key}={value}" for key, value in _SETTINGS.items()]
    config = f"--config=configs/qwen2_5_vl.py:path={folder},frames=8"
    command = [sys.executable, "main.py", config, f"--workdir={folder / 'work'}", "--job=serve"]
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    log = (folder / "server.log").open("w")
    process = subprocess.Popen(
        [*command, *options], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log
    )
    line = process.stdout.readline().decode()
    assert line.startswith("tiny answers at http://127.0.0.1:"), (folder / "server.log").read_text()
    yield line.split()[-1], process
    if process.poll() is None:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=server[0], api_key="none", max_retries=0, timeout=120)


def _ask(client, content, **options):
    messages = content if isinstance(content, list) and "role" in content[0] else None
    messages = messages or [{"role": "user", "content": content}]
    options = {"max_tokens": TOKENS, **options}
    return client.chat.completions.create(model="tiny", messages=messages, **options)


def _clip(url, text="What happens?"):
    return [{"type": "video_url", "video_url": {"url": url}}, {"type": "text", "text": text}]


def _data_url(path, kind="video/mp4"):
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _predicted(run, *questions):
    with devices(1):
        return predict(run, list(questions))


def test_the_model_is_listed(client):
    (model,) = client.models.list().data
    assert model.id == "tiny" and model.vsft["frame_policy"] == "fixed-8"
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError, match="'other' does not exist; here is 'tiny'"):
        client.models.retrieve("other")


def test_answers_are_those_of_predict_with_the_frames_of_the_policy(client, run, folder):
    long = folder / "clips" / "a b" / "long.mp4"
    words, clip = _predicted(run, Question("Why?"), Question("What happens?", [str(long)]))
    plain = _ask(client, "Why?")
    assert plain.choices[0].message.content == words["text"]
    assert plain.usage.completion_tokens == len(words["token_ids"])
    assert plain.choices[0].finish_reason == ("length" if len(words["token_ids"]) == 8 else "stop")
    for url in ("a b/long.mp4", f"file://{folder}/work/clips/a%20b/long.mp4", _data_url(long)):
        said = _ask(client, _clip(url))
        assert said.choices[0].message.content == clip["text"]
        shown = said.model_extra["vsft"]
        assert shown["frames"] == [8] and shown["frame_policy"] == clip["frame_policy"]
        for key in ("frame_budget", "timestamps", "visual_tokens", "shrunk"):
            assert shown[key] == clip[key]
        assert said.usage.prompt_tokens > shown["visual_tokens"] > 0


def test_pictures_are_seen(client, run, folder):
    picture = folder / "clips" / "red.png"
    Image.new("RGB", (64, 56), "red").save(picture)
    (alone,) = _predicted(run, Question("What colour?", [str(picture)]))
    part = {"type": "image_url", "image_url": {"url": _data_url(picture, "image/png")}}
    said = _ask(client, [part, {"type": "text", "text": "What colour?"}])
    assert said.choices[0].message.content == alone["text"]
    assert said.model_extra["vsft"]["visual_tokens"] == alone["visual_tokens"] > 0
    assert said.model_extra["vsft"]["frames"] == []


def test_a_conversation_keeps_what_was_shown_and_said(client):
    first = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": _clip("short.mp4")},
    ]
    said = [
        *first,
        {"role": "assistant", "content": "A ball."},
        {"role": "user", "content": "And?"},
    ]
    before, after = _ask(client, first), _ask(client, said)
    assert before.model_extra["vsft"]["frames"] == after.model_extra["vsft"]["frames"] == [4]
    assert after.usage.prompt_tokens > before.usage.prompt_tokens


def test_a_stream_gives_the_same_answer_in_pieces(client):
    whole = _ask(client, _clip("short.mp4"), logprobs=True, top_logprobs=2)
    events = list(
        _ask(
            client,
            _clip("short.mp4"),
            stream=True,
            logprobs=True,
            top_logprobs=2,
            stream_options={"include_usage": True},
        )
    )
    pieces = [e.choices[0].delta.content or "" for e in events if e.choices]
    assert "".join(pieces) == whole.choices[0].message.content and len(pieces) > 3
    assert events[0].choices[0].delta.role == "assistant"
    assert events[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert events[-2].model_extra["vsft"]["frames"] == [4]
    assert events[-1].usage == whole.usage
    told = [
        t
        for e in events
        if e.choices and e.choices[0].logprobs
        for t in e.choices[0].logprobs.content
    ]
    assert told == whole.choices[0].logprobs.content


def test_logprobs_are_those_of_predict(client, run):
    (words,) = _predicted(run, Question("Why?"))
    said = _ask(client, "Why?", logprobs=True, top_logprobs=3).choices[0].logprobs.content
    assert [t.logprob for t in said] == pytest.approx(words["token_logprobs"], abs=1e-5)
    for token in said:
        assert len(token.top_logprobs) == 3 and token.top_logprobs[0].token == token.token
        assert token.top_logprobs[0].logprob == pytest.approx(token.logprob, abs=1e-5)
    bare = _ask(client, "Why?", logprobs=True).choices[0].logprobs.content
    assert [t.token for t in bare] == [t.token for t in said] and not bare[0].top_logprobs


def test_max_tokens_and_stop_cut_what_would_have_been_said(client):
    whole = _ask(client, "Why?").choices[0].message.content
    cut = _ask(client, "Why?", max_tokens=2)
    assert cut.usage.completion_tokens == 2 and cut.choices[0].finish_reason == "length"
    assert whole.startswith(cut.choices[0].message.content)
    stop = whole[len(whole) // 2 :][:2]
    stopped = _ask(client, "Why?", stop=["never said", stop])
    assert stopped.choices[0].message.content == whole[: whole.index(stop)]
    assert stopped.choices[0].finish_reason == "stop"


def test_what_is_drawn_follows_from_the_seed(client):
    def drawn(seed):
        said = _ask(client, "Why?", temperature=2.0, top_p=0.9, seed=seed, logprobs=True)
        return [token.logprob for token in said.choices[0].logprobs.content]

    assert drawn(1) == pytest.approx(drawn(1)) and drawn(1) != drawn(2)
    assert drawn(None) != drawn(None)


def test_requests_at_the_same_time_are_answered_as_one_by_one(client, run, folder):
    clips = [str(folder / "clips" / "short.mp4"), str(folder / "clips" / "a b" / "long.mp4")]
    asked = [Question(f"What is {i}?", [clips[i % 2]] if i % 3 else [], str(i)) for i in range(8)]
    alone = [_predicted(run, question)[0]["text"] for question in asked]

    def ask(question):
        urls = [str(Path(path).relative_to(folder / "clips")) for path in question.media]
        content = _clip(urls[0], question.prompt) if urls else question.prompt
        return _ask(client, content).choices[0].message.content

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, asked)) == alone


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("../outside.mp4", "does not lie below config.serve.media_root"),
        ("{folder}/outside.mp4", "does not lie below config.serve.media_root"),
        ("file:///etc/passwd", "does not lie below config.serve.media_root"),
        ("file:///{folder}/work/clips/%2e%2e/%2e%2e/outside.mp4", "does not lie below"),
        ("link.mp4", "does not lie below config.serve.media_root"),
        ("file://elsewhere/clip.mp4", "'elsewhere' is another machine"),
        ("http://example.org/clip.mp4", "media are fetched from no host"),
        ("s3://bucket/clip.mp4", "s3:// is not read here"),
        ("data:video/mp4,plain", "is no data URL such as"),
        ("data:video/mp4;base64,***", "is not base64"),
        ("nothing.mp4", "nothing.mp4: missing: no such file"),
        ("broken.mp4", "broken.mp4: "),
        ("cut.mp4", "cut.mp4: "),
        ("", "does not lie below"),
    ],
)
def test_media_that_cannot_be_used_are_refused_by_name(client, folder, url, message):
    with pytest.raises(openai.BadRequestError, match=message) as refused:
        _ask(client, _clip(url.replace("{folder}", str(folder))))
    assert refused.value.type == "invalid_request_error" and refused.value.code
    assert "{folder}" in url or str(folder) not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 33}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"seed": "one"}, "seed"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"extra_body": {"temperatur": 1}}, "temperatur"),
    ],
)
def test_parameters_that_cannot_be_used_are_named(client, options, param):
    with pytest.raises(openai.BadRequestError) as refused:
        _ask(client, "Why?", **options)
    assert refused.value.param == param and param in str(refused.value)


def test_parameters_that_ask_for_nothing_are_taken(client):
    said = _ask(
        client, "Why?", n=1, presence_penalty=0, user="me", temperature=0, top_p=0.5, tools=[]
    )
    assert said.choices[0].message.content == _ask(client, "Why?").choices[0].message.content


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ([{"role": "tool", "content": "3"}], "messages[0].role"),
        ([{"role": "user", "content": 3}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "audio"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": ""}], "messages[0].content"),
        (
            [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
            "messages[1].role",
        ),
        ([{"role": "system", "content": _clip("short.mp4")}], "messages[0].content[0].type"),
        ([{"role": "user", "content": "\ud800"}], "messages[0].content[0].text"),
    ],
)
def test_messages_that_cannot_be_used_are_named(server, messages, param):
    status, body = _post(server[0], json.dumps({"model": "tiny", "messages": messages}))
    assert status == 400 and body["error"]["param"] == param


def _post(address, body, path="/v1/chat/completions", method="POST"):
    connection = http.client.HTTPConnection(address.split("/")[2], timeout=60)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    return reply.status, json.loads(reply.read())


def test_other_requests_are_refused_in_the_same_form(server):
    for body, status, words in (
        ("{", 400, "not JSON"),
        ("[" * 100_000, 400, "not JSON"),
        ("3", 400, "not an object"),
        ("{}", 400, "model parameter"),
        ('{"model": "other"}', 404, "does not exist"),
        (" " * 1_100_000, 413, "config.serve.max_request_mb"),
    ):
        found, said = _post(server[0], body)
        assert found == status and words in said["error"]["message"]
    assert _post(server[0], "", "/v1/completions")[0] == 404
    assert _post(server[0], "", method="GET")[0] == 405


def test_a_client_that_leaves_is_waited_for_no_more(server, client):
    address = server[0].split("/")[2]
    body = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "Why?"}]})
    for _ in range(12):
        connection = http.client.HTTPConnection(address, timeout=60)
        connection.request("POST", "/v1/chat/completions", body)
        connection.close()
    deadline = time.monotonic() + 30
    while (health := _post(server[0], "", "/health", "GET")[1])["waiting"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert health["status"] == "ok"
    assert _ask(client, "Why?").choices[0].message.content


def test_a_signal_ends_it_in_order(server, client):
    """The last test here: a request under way is answered, and the command has done its work."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        last = thread.submit(_ask, client, _clip("short.mp4", "What was last?"), max_tokens=32)
        while not _post(server[0], "", "/health", "GET")[1]["waiting"] and not last.done():
            time.sleep(0.002)
        server[1].send_signal(signal.SIGTERM)
        assert last.result().choices[0].message.content
    assert server[1].wait(60) == 0
