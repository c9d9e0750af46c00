"""A registry in a folder with packages like the real ones, of a few small pictures."""

import base64
import dataclasses
import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from emoji_world.cast import KIND_OF, is_kept
from emoji_world.packages import Package, Pins

MOVING = ("animal", "face", "hand")
PICTURE_MS = 50
PICTURES = 12
SIZES = {"pixels": 32, "train_images": 24, "train_clips": 32, "train_easy": 12}
SIZES |= {"test_images": 16, "test_clips": 24, "test_easy": 6}


def characters(kind):
    """Four for training and four for evaluation."""
    codes = sorted(code for code, of in KIND_OF.items() if of == kind)
    return [c for c in codes if not is_kept(c)][:4] + [c for c in codes if is_kept(c)][:4]


def webp(code, count=PICTURES, empty=0, durations=PICTURE_MS):
    """A square of the character's own colour that is one pixel further right in each of ten
    pictures; the first `empty` ones show none."""
    rng, pictures = np.random.default_rng(code), []
    colour = rng.integers(0, 256, 3)
    for number in range(count):
        rgba = np.zeros((24, 24, 4), np.uint8)
        if number >= empty:
            left = number % 10
            rgba[4:20, left : left + 14] = (*colour, 255)
            rgba[6, left + 7] = 0  # a square without a hole is kept without its alpha
        pictures.append(Image.fromarray(rgba))
    file = io.BytesIO()
    options = {"save_all": True, "append_images": pictures[1:], "loop": 0} if count > 1 else {}
    pictures[0].save(file, "webp", lossless=True, duration=durations, **options)
    return file.getvalue()


def write_npm(path, files):
    """A package as npm has it: everything below package/."""
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, data in {"package.json": b"{}", **files}.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def write_easy_vqa(path):
    """A wheel with four pictures on a side, and questions of all three kinds."""
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for split in ("train", "test"):
            rows = []
            for image in range(4):
                colour, shape = ("red", "blue")[image % 2], ("circle", "triangle")[image // 2]
                file = io.BytesIO()
                Image.new("RGB", (64, 64), colour).save(file, "png")
                archive.writestr(f"easy_vqa/data/{split}/images/{image}.png", file.getvalue())
                rows += [["what color is the shape?", colour, image]]
                rows += [["what shape is in the image?", shape, image]]
                for other in ("red", "blue"):
                    answer = "yes" if other == colour else "no"
                    rows += [[f"is there a {other} shape?", answer, image]]
            archive.writestr(f"easy_vqa/data/{split}/questions.json", json.dumps(rows))


def pinned(package, root):
    """The package with size and hash of the file that lies in the registry's folder."""
    data = (root / package.registry / package.path).read_bytes()
    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    return dataclasses.replace(package, size=len(data), sha512=digest)


def write_registry(root: Path) -> Pins:
    """Writes the packages below <root>/npm and <root>/pypi."""
    stills = Package("npm", "@x/3d", "1.0.0", "@x/3d/-/3d-1.0.0.tgz", 0, "")
    clips = [
        Package("npm", f"@x/anim-{n}", "1.0.0", f"@x/anim-{n}/-/anim-{n}-1.0.0.tgz", 0, "")
        for n in (1, 2)
    ]
    easy = Package("pypi", "easy-vqa", "1.0", "packages/ab/easy_vqa-1.0-py3-none-any.whl", 0, "")
    codes = [code for kind in (*MOVING, "food") for code in characters(kind)]
    files = {f"assets/{code:x}.webp": webp(code, 1) for code in codes}
    write_npm(root / "npm" / stills.path, files | {"assets/1f600-1f3fb.webp": b"not read"})
    moving = [code for kind in MOVING for code in characters(kind)]
    for number, package in enumerate(clips):
        half = {f"assets/{code:x}.webp": webp(code) for code in moving[number::2]}
        more = {f"assets/{code:x}.webp": webp(code, 1) for code in characters("food")[number::2]}
        write_npm(root / "npm" / package.path, half | more)
    write_easy_vqa(root / "pypi" / easy.path)
    return Pins(pinned(stills, root), tuple(pinned(p, root) for p in clips), pinned(easy, root))
