"""Paths of records stay below their root, however they are written."""

import pytest

from input_pipeline.paths import below

ROOTS = ["https://host/top/clips", "http://host:8000/clips/", "gs://bucket/clips", "hf://d/o/n"]


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize(
    "path",
    [
        "../a.mp4",
        "x/../../a.mp4",
        "%2e%2e/a.mp4",
        "%2E./a.mp4",
        ".%2e/a.mp4",
        "..%2fa.mp4",
        "x%2f..%2f..%2fa.mp4",
        "%252e%252e/a.mp4",
        "%25252e%25252e%25252fa.mp4",
        "..\\a.mp4",
        "..%5ca.mp4",
        "%2e%2e%5Ca.mp4",
        "\uff0e\uff0e/a.mp4",  # full-width dots
        "\u2025/a.mp4",  # a two-dot leader
        "..\uff0fa.mp4",  # a full-width slash
        "..\uff3ca.mp4",  # a full-width backslash
        "%ef%bc%8e%ef%bc%8e/a.mp4",
        ".\t./a.mp4",
        "%2e%09%2e/a.mp4",
        "..;/a.mp4",
        "..;x=1/a.mp4",
        "%2e%2e%3b/a.mp4",
        "x/%2e%2e/%2e%2e/a.mp4",
        "%" + "25" * 20 + "2e/a.mp4",  # encoded without end
        "https://elsewhere/a.mp4",
        "ftp://host/top/clips/a.mp4",
        "",
        ".",
    ],
)
def test_what_leads_out_of_an_address(root, path):
    with pytest.raises(ValueError, match="leads out of|encoded more than"):
        below(path, root)
    if "://" not in path and path:
        with pytest.raises(ValueError, match="leads out of|encoded more than"):
            below(f"{root.rstrip('/')}/{path}", root)


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("a.mp4", "a.mp4"),
        ("x/../y/./a.mp4", "y/a.mp4"),
        ("/a.mp4", "a.mp4"),
        ("a b%20c.mp4", "a b%20c.mp4"),
        ("100%.mp4", "100%.mp4"),
        ("..a/...mp4", "..a/...mp4"),
        ("x/%2e%2e/a.mp4", "x/%2e%2e/a.mp4"),
        ("\u65e5\u672c.mp4", "\u65e5\u672c.mp4"),
        ("a.mp4?token=x;y", "a.mp4?token=x;y"),
    ],
)
def test_what_stays_below_an_address(root, path, inside):
    top = root.rstrip("/")
    assert below(path, root) == f"{top}/{inside}"
    assert below(f"{top}/{path.lstrip('/')}", root) == f"{top}/{inside}"


def test_a_root_that_is_itself_encoded():
    assert below("a.mp4", "https://host/my%20clips") == "https://host/my%20clips/a.mp4"
    with pytest.raises(ValueError, match="leads out"):
        below("%2e%2e/a.mp4", "https://host/my%20clips")


def test_on_this_machine_names_are_what_they_are():
    assert below("%2e%2e/a.mp4", "/data") == "/data/%2e%2e/a.mp4"
    for path in ("../a.mp4", "/etc/passwd", "", "/data"):
        with pytest.raises(ValueError, match="leads out of /data"):
            below(path, "/data")
