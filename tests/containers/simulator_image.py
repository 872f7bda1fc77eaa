"""Builds the image `pytest-bench-simulator` from this machine's own files: Python, a shell, sudo, and the simulator.

`python tests/containers/simulator_image.py` builds it and prints its id. Nothing is downloaded: libraries are found
with ldd. The image is built again only if what it is made of has changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import httptools
import msgspec
import uvloop

import pytest_bench

NAME = "pytest-bench-simulator"

SERVER = ("python3", "-m", "pytest_bench.simulator", "--host", "0.0.0.0", "--port", "8000")
LISTENER = (
    "python3",
    "-S",
    "-c",
    "import socket, time; s = socket.create_server(('', 8000)); time.sleep(600)",
)
"""A server for tests that send no request: it starts faster."""

_PROGRAMS = ("sh", "cat", "ls", "tr", "df", "env", "mkdir", "sleep", "sudo")
_LEFT_OUT = {
    "__pycache__",
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "tkinter",
    "ensurepip",
    "site-packages",
    "turtledemo",
}
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nserver:x:1000:1000::/:/bin/sh\n",
    "etc/group": "root:x:0:\nserver:x:1000:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/sudoers": "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n",
    "etc/pam.d/sudo": "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n",
}
_SETTINGS = (
    "ENV PATH=/usr/local/bin:/usr/bin:/bin",
    f"ENV PYTHONHOME={sys.base_prefix}",
    "ENV PYTHONPATH=/opt",
    'CMD ["python3", "-m", "pytest_bench.simulator", "--host", "0.0.0.0"]',
)


def build() -> str:
    """Build the image if it is not there, and return its id. Of several processes at once, one builds it."""
    with Path(tempfile.gettempdir(), f"{NAME}-{os.geteuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _built(_key())


def _built(key: str) -> str:
    found = _docker("images", "--quiet", "--no-trunc", f"{NAME}:{key}").partition("\n")[0]
    if found:
        return found
    with tempfile.TemporaryDirectory(prefix=f"{NAME}-") as folder:
        root = Path(folder, "root.tar")
        with tarfile.open(root, "w") as archive:
            _fill(archive)
        changes = [word for setting in _SETTINGS for word in ("--change", setting)]
        _docker("import", *changes, str(root), f"{NAME}:{key}")
    _docker("tag", f"{NAME}:{key}", f"{NAME}:latest")
    return _docker("images", "--quiet", "--no-trunc", f"{NAME}:{key}").partition("\n")[0]


def _key() -> str:
    """Digest of what the image is made of."""
    hasher = hashlib.sha256((Path(__file__).read_text() + sys.version + msgspec.__version__).encode())
    for path in sorted(Path(pytest_bench.__file__).parent.rglob("*.py")):
        if path.parent.name in {"simulator", "pytest_bench"}:
            hasher.update(path.read_bytes())
    return hasher.hexdigest()[:16]


def _fill(archive: tarfile.TarFile) -> None:
    """Write the root file system."""
    for name in ("tmp", "proc", "run", "root", "var", "usr/bin", "usr/local/bin"):
        folder = tarfile.TarInfo(name)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
        archive.addfile(folder)
    for name, target in (("bin", "usr/bin"), ("usr/local/bin/python3", sys.base_prefix + "/bin/python3")):
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, target
        archive.addfile(link)
    files = {target: source.resolve() for source, target in (*_programs(), *_modules())}
    binaries = [path for path in files.values() if path.suffix == ".so" or os.access(path, os.X_OK)]
    files |= {library.lstrip("/"): Path(library).resolve() for library in _libraries(binaries)}
    for target, source in files.items():
        archive.add(source, target, recursive=False)
    for name, text in _FILES.items():
        member = tarfile.TarInfo(name)
        member.mode, member.size = 0o440 if name == "etc/sudoers" else 0o644, len(text)
        archive.addfile(member, io.BytesIO(text.encode()))


def _programs() -> Iterator[tuple[Path, str]]:
    """Programs, each with its place in the image."""
    yield Path(sys.executable), f"{sys.base_prefix}/bin/python3".lstrip("/")
    for name in _PROGRAMS:
        found = shutil.which(name)
        if found is None:
            raise SystemExit(f"{name} is not installed; it is part of the image")
        yield Path(found), f"usr/bin/{name}"
    for path in (*Path("/usr/libexec/sudo").glob("*.so*"), *Path("/lib").glob("*/security/pam_permit.so")):
        yield path, str(path).lstrip("/")


def _modules() -> Iterator[tuple[Path, str]]:
    """Python's standard library, the simulator, and what it imports, each with its place in the image."""
    for path in _below(Path(sysconfig.get_paths()["stdlib"]), _LEFT_OUT):
        yield path, str(path).lstrip("/")
    for module in (msgspec, uvloop, httptools):
        folder = Path(module.__file__).parent
        for path in _below(folder, {"handles"}):
            yield path, f"opt/{path.relative_to(folder.parent)}"
    package = Path(pytest_bench.__file__).parent
    for path in (*package.glob("*.py"), *(package / "simulator").glob("*.py")):
        yield path, f"opt/{path.relative_to(package.parent)}"


def _below(folder: Path, left_out: set[str]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and left_out.isdisjoint(path.relative_to(folder).parts):
            yield path


def _libraries(binaries: Iterable[Path]) -> set[str]:
    """The shared libraries that programs need, as ldd names them."""
    listed = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"(?:=> )?(/\S+) \(0x", listed))


def _docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"docker {words[0]} failed: {done.stderr}{done.stdout}")
    return done.stdout.strip()


if __name__ == "__main__":
    print(build())
