"""Decoding in processes: the same pixels as in threads, and what a file that hangs costs."""

import http.server
import json
import os
import pickle
import threading
import time

import numpy as np
import pytest

from input_pipeline.batches import RowShape, build_row
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.index import DatasetSpec, ExampleStore, IndexSpec, prepare
from input_pipeline.layout import layout_example
from input_pipeline.media import Decoder, MediaError, probe, read_frames
from input_pipeline.media import decoder as decoder_module
from input_pipeline.media.frames import preview_frames
from input_pipeline.text import ChatTokenizer
from tests.input_pipeline import tiny_qwen
from tests.input_pipeline.media import stalling
from tests.input_pipeline.media_fixtures import write_clip
from vsft_jax.models.qwen2_5_vl.layout import Layout

SPEC = Layout(image_min_pixels=784, video_min_pixels=784)


@pytest.fixture(scope="module")
def in_processes():
    decoder = Decoder(processes=2, timeout_s=30)
    yield decoder
    decoder.close()


@pytest.fixture
def clip(tmp_path):
    return MediaRef("video", str(write_clip(tmp_path / "a.mp4", 24, size=(200, 120))))


@pytest.mark.parametrize("size", [None, (56, 84)])
def test_processes_and_threads_agree(in_processes, clip, size):
    for decoder in (in_processes, Decoder()):
        assert decoder.probe(clip) == probe(clip)
        np.testing.assert_array_equal(decoder.preview(clip, 4, 64), preview_frames(clip, 4, 64))
        np.testing.assert_array_equal(
            decoder.frames(clip, (0, 7, 7, 23), size), read_frames(clip, (0, 7, 7, 23), size)
        )
    copy = pickle.loads(pickle.dumps(in_processes))
    assert copy.probe(clip) == probe(clip)
    copy.close()


def test_errors_keep_their_reason(in_processes, tmp_path):
    with pytest.raises(MediaError) as caught:
        in_processes.probe(MediaRef("video", str(tmp_path / "gone.mp4")))
    assert caught.value.reason == "missing"


def test_a_clip_that_hangs_is_masked_and_the_others_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder_module, "read_frames", stalling.read_frames)
    chat = ChatTokenizer.load(tiny_qwen.write_checkpoint(tmp_path / "qwen"), SPEC.media_tokens)
    items = []
    for name in ("good", "stall", "crash", "kill", "once", "fine"):
        ref = MediaRef("video", str(write_clip(tmp_path / f"{name}.mp4", 4, fps=2)))
        example = Example(name, "toy", (Turn("user", (ref, "?")), Turn("assistant", ("Yes",))))
        layout = layout_example(
            SPEC, lambda _, e=example: chat.encode(e), [probe(ref)], [4], 512, 512
        )
        items.append((example, layout))
    decoder = Decoder(processes=1, timeout_s=1.0)
    row = build_row(items, chat, SPEC, RowShape(512, 1024), decoder=decoder)
    decoder.close()
    assert [(f["id"], f["reason"]) for f in row["failures"]] == [
        ("stall", "timeout"),
        ("crash", "crashed"),
        ("kill", "killed"),
    ]
    assert "SIGABRT; tried again" in row["failures"][1]["detail"]
    learnt = [row["loss_weights"][row["segment_ids"] == segment].any() for segment in range(1, 7)]
    assert learnt == [True, False, False, False, True, True]
    assert decoder.counts == {"timeout": 1, "crashed": 1, "killed": 1}


def test_a_process_killed_once_costs_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder_module, "read_frames", stalling.read_frames)
    once = MediaRef("video", str(write_clip(tmp_path / "once.mp4", 4)))
    decoder = Decoder(processes=1, timeout_s=20)
    frames = decoder.frames(once, [0, 3])
    decoder.close()
    np.testing.assert_array_equal(frames, read_frames(once, [0, 3]))
    assert not decoder.counts


def test_files_that_hang_do_not_hang_prepare(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder_module, "probe", stalling.probe)
    names = ["good", "stall", "crash", "pipe", "once", "fine"]
    for name in names:
        write_clip(tmp_path / f"{name}.mp4", 8)
    (tmp_path / "pipe.mp4").unlink()
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "train.json").write_text(
        json.dumps(
            [
                {
                    "id": name,
                    "video": f"{name}.mp4",
                    "conversations": [
                        {"from": "human", "value": "<video>\nWhat?"},
                        {"from": "gpt", "value": "Yes."},
                    ],
                }
                for name in names
            ]
        )
    )
    spec = IndexSpec(
        tokenizer_dir=str(tiny_qwen.write_checkpoint(tmp_path / "qwen")),
        layout=SPEC,
        frame_policy={"kind": "fixed", "frames": 4},
        max_tokens=512,
        max_patches=512,
    )
    decoder = Decoder(processes=2, timeout_s=1.0)
    dataset = DatasetSpec("toy", str(tmp_path / "train.json"), str(tmp_path))
    path, summary = prepare(dataset, spec, tmp_path / "index", workers=2, decoder=decoder)
    decoder.close()
    assert len(ExampleStore.open(path)) == 3
    assert summary["quarantined"] == {"timeout": 1, "crashed": 1, "not_a_file": 1}


class Stalling(http.server.BaseHTTPRequestHandler):
    """Says how large the file is, sends its first bytes and then nothing."""

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "100000000")
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(b"\0\0\0\x18ftypmp42")
        self.wfile.flush()
        self.server.released.wait(30)

    def log_message(self, *_):
        pass


def test_a_server_that_stalls_does_not_hang_anything():
    pytest.importorskip("aiohttp")  # fsspec's client
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stalling)
    server.released = threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ref = MediaRef("video", f"http://127.0.0.1:{server.server_port}/a.mp4")
    decoder = Decoder(processes=1, timeout_s=2.0)
    try:
        for call in (decoder.probe, lambda ref: decoder.frames(ref, [0])):
            start = time.monotonic()
            with pytest.raises(MediaError) as caught:
                call(ref)
            assert caught.value.reason == "timeout"
            assert time.monotonic() - start < 20
    finally:
        server.released.set()
        server.shutdown()
        decoder.close()
