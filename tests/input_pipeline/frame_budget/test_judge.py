import base64
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from input_pipeline.frame_budget import (
    ModelError,
    Tools,
    canonical_spec,
    make_policy,
    most_frames,
    spec_hash,
    spec_label,
)
from input_pipeline.frame_budget import judge as judge_module
from input_pipeline.frame_budget.endpoint import Endpoint, Pace
from input_pipeline.frame_budget.judge import CRITERIA, prompt, read_answer
from tests.input_pipeline.frame_budget.budget_queries import Preview, query
from tests.input_pipeline.frame_budget.judge_server import judge_server

SIXTEEN = json.dumps(dict.fromkeys(CRITERIA, 3) | {"frames": 16})
ERROR = "the server is melting"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(Endpoint.__init__, "__kwdefaults__", {"first_wait_s": 0.01})
    with judge_server() as found:
        yield found


def spec_for(server, **more):
    return {"kind": "judge", "url": server.url, "model": "org/eye-8b", **more}


# ── Reading answers. ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ('{"frames": 32}', 32),
        (f"```json\n{SIXTEEN}\n```", 16),
        ('Let me think {about} it: {"frames": 8}? No. {"frames": 64}', 64),
        ('{"frames": "16"}', 16),
        ('{"event_duration": 9, "frames": 16.0, "extra": null}', 16),
    ],
)
def test_answers_that_can_be_read(text, frames):
    assert read_answer(text, [8, 16, 32, 64])[0] == frames


@pytest.mark.parametrize(
    "text",
    ["", "16", "I would say 16 frames.", '{"frames": 12}', '{"frames": true}', '{"frames": [16]}',
     '{"frames": 16', '{"budget": 16}', '{"frames": null}'],
)  # fmt: skip
def test_answers_that_cannot(text):
    with pytest.raises(ValueError, match="frames"):
        read_answer(text, [8, 16, 32, 64])


def test_ratings_are_those_in_range():
    text = '{"event_duration": 5, "motion_continuity": 0, "causal_relations": "x", "frames": 8}'
    assert read_answer(text, [8]) == (8, {"event_duration": 5})


def test_prompt_names_everything_that_is_to_be_weighed():
    text = prompt("How many {times}?", 18.04, 7, [8, 16, 32])
    for name in CRITERIA:
        assert text.count(name) == 2
    for words in ("How many {times}?", "18.0 seconds", "The 7 pictures", "8, 16 or 32"):
        assert words in text
    # the example in it is an answer that can be read
    assert read_answer(text, [8, 16, 32]) == (8, dict.fromkeys(CRITERIA, 1))


# ── Deciding. ───────────────────────────────────────────────────────────────────────────────────


def test_asks_with_pictures_and_reports_the_ratings(server, monkeypatch):
    monkeypatch.setenv("EYE_KEY", "s3cret")
    server.replies = [SIXTEEN]
    preview = Preview()
    spec = spec_for(server, api_key_env="EYE_KEY", preview_frames=4, preview_pixels=96)
    budget = make_policy(spec)(query("Why does it stop?", preview=preview))
    assert budget.frames == 16
    assert budget.why == (
        "16: judged by eye-8b: event 3, motion 3, causal 3, object 3, attributes 3"
    )
    ((headers, body),) = server.requests
    assert headers["Authorization"] == "Bearer s3cret"
    assert body["path"] == "/v1/chat/completions"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("org/eye-8b", 0.0, 300)
    *pictures, text = body["messages"][0]["content"]
    assert "Why does it stop?" in text["text"]
    for picture, frame in zip(pictures, Preview()(4, 96), strict=True):
        kind, data = picture["image_url"]["url"].split(",")
        assert kind == "data:image/jpeg;base64"
        pixels = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        smooth = [cv2.blur(x, (9, 9)).astype(float) for x in (pixels[..., ::-1], frame)]
        assert np.abs(smooth[0] - smooth[1]).mean() < 6, "the same picture, red where it was red"
    assert preview.calls == [(4, 96)]


def test_the_request_can_be_changed(server):
    server.replies = [SIXTEEN]
    make_policy(spec_for(server, request={"max_tokens": None, "seed": 3}))(query())
    body = server.requests[0][1]
    assert "max_tokens" not in body
    assert (body["seed"], body["temperature"]) == (3, 0.0)


def test_only_the_key_that_the_spec_names_goes_out(server, monkeypatch, caplog):
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "s3cret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/elsewhere")
    monkeypatch.setenv("EYE_KEY", "k3y")
    caplog.set_level("INFO")
    server.replies = [SIXTEEN]
    for more in ({}, {"api_key_env": "EYE_KEY"}):
        assert make_policy(spec_for(server, **more))(query()).frames == 16
    (without, _), (named, _) = server.requests
    assert without["Authorization"] is None and named["Authorization"] == "Bearer k3y"
    assert "s3cret" not in str([without.items(), named.items()])
    assert not caplog.records, "a line for every request"


def test_asked_once_for_each_question_and_medium(server, tmp_path):
    server.replies = [SIXTEEN]
    tools = Tools(folder=tmp_path)
    preview = Preview()
    one = make_policy(spec_for(server), tools)
    first = one(query("Why?", media_id="a.mp4", preview=preview))
    assert one(query("Why?", media_id="a.mp4", preview=preview, id="y")) == first
    assert len(preview.calls) == 1, "a known answer needs no decoding"
    one(query("Where?", media_id="a.mp4"))
    one(query("Why?", media_id="b.mp4"))
    assert len(server.requests) == 3
    # another process, another address and pace: still known
    moved = {"url": "http://127.0.0.1:9/elsewhere", "attempts": 1, "concurrency": 1}
    assert make_policy(spec_for(server) | moved, tools)(query("Why?", media_id="a.mp4")) == first
    # what the answer depends on
    for change in ({"model": "other"}, {"preview_frames": 4}, {"candidates": (8, 16)},
                   {"request": {"seed": 1}}, {"preview_pixels": 100}):  # fmt: skip
        make_policy(spec_for(server, **change), tools)(query("Why?", media_id="a.mp4"))
    assert len(server.requests) == 8


def test_without_a_name_the_medium_is_known_by_its_pictures(server):
    server.replies = [SIXTEEN]
    policy = make_policy(spec_for(server))
    for seed in (1, 1, 2):
        policy(query(preview=Preview(seed)))
    assert len(server.requests) == 2


def test_another_prompt_asks_again(server, tmp_path, monkeypatch):
    server.replies = [SIXTEEN]
    for version in (1, 1, 2):
        monkeypatch.setattr(judge_module, "PROMPT_VERSION", version)
        make_policy(spec_for(server), Tools(folder=tmp_path))(query(media_id="a"))
    assert len(server.requests) == 2


@pytest.mark.parametrize("said", ["sixteen, I think", '{"frames": 17}', ""])
def test_a_useless_answer_falls_back_is_counted_and_said(server, tmp_path, said):
    server.replies = [said]
    spec = spec_for(server, fallback={"kind": "duration"})
    policy = make_policy(spec, Tools(folder=tmp_path))
    budget = policy(query(media_id="a"))
    assert budget.frames == 16
    assert budget.why == "16: 18.0 s at 1 frames/s (no usable answer of eye-8b)"
    policy(query(media_id="a"))
    assert (len(server.requests), policy._decide.unusable) == (1, 2)


def test_a_refused_question_falls_back_but_is_asked_again_next_time(server, tmp_path):
    server.replies = [(400, {}, "content policy"), SIXTEEN]
    policy = make_policy(spec_for(server), Tools(folder=tmp_path))
    assert "any novelty (no usable answer of eye-8b)" in policy(query(media_id="a")).why
    assert policy(query(media_id="a")).frames == 16


def test_a_clip_that_has_no_choice_is_not_asked_about(server):
    assert make_policy(spec_for(server), frames_at_a_time=2)(query(frames=7)).frames == 6
    assert server.requests == []


# ── Trouble on the line. ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "trouble",
    [
        [(500, {}, ERROR)] * 3,
        [(429, {"Retry-After": "0"}, "slow down"), (503, {"Retry-After": "soon"}, "")],
        [(200, {}, "<html>a proxy's page</html>"), (200, {}, '{"choices": []}')],
    ],
    ids=["500", "429", "garbage"],
)
def test_what_may_pass_is_tried_again(server, trouble):
    server.replies = [*trouble, SIXTEEN]
    assert make_policy(spec_for(server))(query()).frames == 16
    assert len(server.requests) == len(trouble) + 1


def test_a_silent_server_is_given_up_on_and_asked_again(server):
    server.replies = [5.0, SIXTEEN]
    start = time.monotonic()
    assert make_policy(spec_for(server, timeout_s=0.2))(query()).frames == 16
    assert time.monotonic() - start < 4.5


def test_retry_after_is_kept_to(server):
    server.replies = [(429, {"Retry-After": "0.3"}, ""), SIXTEEN]
    make_policy(spec_for(server))(query())
    assert server.times[1] - server.times[0] >= 0.3


def test_waits_double(server, monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    nowhere = {"url": "http://127.0.0.1:9/v1", "attempts": 5}
    endpoint = Endpoint(canonical_spec(spec_for(server) | nowhere), first_wait_s=1.0)
    with pytest.raises(ModelError):
        endpoint("?", np.zeros((0, 2, 2, 3), np.uint8), 1.0)
    assert len(waits) == 4
    for i, wait in enumerate(waits):
        assert 0.75 * 2**i <= wait <= 1.25 * 2**i


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((500, {}, ERROR), r"'url' http://127.*did not answer in 2 attempts.*500: the server is"),
        (1.0, r"did not answer in 2 attempts.*(timed out|closed).*'timeout_s'"),
        ((401, {}, "who are you"), r"401: who are you; check 'api_key_env' of the spec \(now ''\)"),
        ((404, {}, "no such model"), r"check 'url' and 'model' of the spec \(now .*'org/eye-8b'\)"),
    ],
)
def test_trouble_that_stays_stops_and_is_named(server, reply, message):
    server.replies = [reply]
    policy = make_policy(spec_for(server, attempts=2, timeout_s=0.2))
    with pytest.raises(ModelError, match=message):
        policy(query())


def test_nobody_listens():
    spec = {"kind": "judge", "url": "http://127.0.0.1:9/v1", "model": "m", "attempts": 1}
    with pytest.raises(ModelError, match=r"127.0.0.1:9/v1/chat/completions did not answer in 1"):
        make_policy(spec)(query())


def test_what_was_answered_before_the_trouble_is_kept(server, tmp_path):
    server.replies = [SIXTEEN, (500, {}, ERROR)]
    tools = Tools(folder=tmp_path)
    policy = make_policy(spec_for(server, attempts=1), tools)
    policy(query(media_id="a"))
    with pytest.raises(ModelError):
        policy(query(media_id="b"))
    server.replies = [SIXTEEN]
    policy = make_policy(spec_for(server, attempts=1), tools)
    assert policy(query(media_id="a")).frames == policy(query(media_id="b")).frames == 16
    assert len(server.requests) == 3


def test_concurrency_is_bounded(server):
    server.replies, server.takes_s = [SIXTEEN], 0.05
    policy = make_policy(spec_for(server, concurrency=2))
    with ThreadPoolExecutor(8) as pool:
        budgets = list(pool.map(lambda i: policy(query(media_id=str(i))).frames, range(8)))
    assert budgets == [16] * 8
    assert server.most_at_once == 2


def test_pace_spaces_callers_evenly():
    pace, times, lock = Pace(1200), [], threading.Lock()  # one in 50 ms

    def call():
        pace.wait()
        with lock:
            times.append(time.monotonic())

    start = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(6):
            pool.submit(call)
    assert all(t - start >= 0.05 * i for i, t in enumerate(sorted(times)))
    start = time.monotonic()
    for _ in range(100):
        Pace(0).wait()
    assert time.monotonic() - start < 0.1


# ── Specs. ──────────────────────────────────────────────────────────────────────────────────────


def test_the_key_comes_from_the_environment(monkeypatch):
    spec = {"kind": "judge", "url": "http://localhost/v1", "model": "m", "api_key_env": "EYE_KEY"}
    monkeypatch.delenv("EYE_KEY", raising=False)
    with pytest.raises(ModelError, match="'api_key_env' is 'EYE_KEY', and no environment variable"):
        make_policy(spec)
    with pytest.raises(ValueError, match="'api_key_env' must be the name") as caught:
        make_policy(spec | {"api_key_env": "sk-123456"})
    assert "123456" not in str(caught.value), "what may be the key is not printed"


def test_the_client_is_asked_for_only_with_a_url(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    make_policy({"kind": "judge", "path": "eye"}, Tools(ask=lambda spec: None))
    with pytest.raises(ModelError, match="judge with a 'url'.*pip install openai"):
        make_policy({"kind": "judge", "url": "http://localhost/v1", "model": "m"})


def test_a_model_of_ones_own_comes_from_outside():
    spec = {"kind": "judge", "path": "models/eye-3b"}
    with pytest.raises(ModelError, match="'path' 'models/eye-3b' is a model to be loaded"):
        make_policy(spec)

    class Eye:
        identity = "eye"

        def __call__(self, prompt, frames, seconds):
            assert "Why?" in prompt and frames.shape == (8, 112, 224, 3) and seconds == 18.0
            return '{"frames": 32}'

    tools = Tools(ask=lambda given: Eye() if given["path"] == spec["path"] else None)
    assert make_policy(spec, tools)(query("Why?")).why == "32: judged by eye-3b"


def test_spec():
    spec = {"kind": "judge", "url": "http://localhost/v1", "model": "org/eye-8b"}
    policy = make_policy(spec)
    assert policy.spec["fallback"]["kind"] == "hybrid"
    assert make_policy(policy.spec) == policy
    assert spec_label(spec) == f"judge-eye-8b~{spec_hash(spec)[:4]}"
    elsewhere = {"url": "https://api.example.org", "concurrency": 9, "requests_per_minute": 60,
                 "timeout_s": 5, "attempts": 2}  # fmt: skip
    assert spec_hash(spec | elsewhere) == spec_hash(spec), "the same model, reached another way"
    assert spec_hash({"kind": "judge", "path": "org/eye-8b"}) != spec_hash(spec)
    assert most_frames(spec | {"candidates": (4, 8)}) == 8
    assert most_frames(spec | {"fallback": {"kind": "fixed", "frames": 128}}) == 128


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "takes 'path' .* or 'url' and 'model'"),
        ({"path": "a", "url": "http://x", "model": "m"}, "one of the two"),
        ({"url": "http://x"}, "needs the key 'model'"),
        ({"url": "ftp://x", "model": "m"}, "'url' must begin with http"),
        ({"path": "a", "timeout_s": 3}, "'timeout_s' has no effect on a judge with a 'path'"),
        ({"path": "a", "request": {"seed": 1}}, "'request' has no effect"),
        ({"url": "http://x", "model": "m", "request": "seed"}, "'request' must be a JSON object"),
        ({"url": "http://x", "model": "m", "concurrency": 0}, "'concurrency' must be .* >= 1"),
        ({"path": "a", "fallback": {"kind": "judge", "path": "b"}}, "another kind than judge"),
        (
            {"path": "a", "fallback": {"kind": "similarity", "features": "dinov2", "path": "b"}},
            "'fallback' must need no model",
        ),
    ],
)
def test_bad_specs_are_named(more, message):
    with pytest.raises(ValueError, match=message):
        make_policy({"kind": "judge"} | more, Tools(ask=lambda spec: None))
