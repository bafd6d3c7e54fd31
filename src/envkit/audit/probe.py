"""Runs inside an environment, with its own interpreter and the standard library alone, and prints what is there as JSON.

`python -I -S -c PROGRAM QUESTIONS`: so it reaches a container, another machine's engine and a venv in the same way. It
imports nothing of what it examines; libraries are read as ld.so would load them, and none is loaded.
"""

from __future__ import annotations

import base64
import csv
import fnmatch
import hashlib
import json
import mmap
import os
import platform
import re
import shutil
import struct
import sys
import sysconfig
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Finding = dict[str, Any]


def main(questions: dict[str, Any]) -> dict[str, Any]:
    """All answers: see `envkit.audit.seen.Seen`, which reads them."""
    began = time.monotonic()
    sites = SITES
    distributions = [each for site in sites for each in read_distributions(site)]
    ours = [each for each in distributions if not each.is_kept_by(questions["installers"], questions["folders"])]
    files = sorted(record_faults(ours, deep=questions["deep"]), key=lambda each: str(each["path"]))
    recorded = time.monotonic()
    owners = {path: each.name for each in distributions for path in each.files}
    libraries = Libraries(sites, questions["driver_libraries"])
    linked = Audit(libraries, distributions, owners, questions["torch_loads"]).run()
    audited = time.monotonic()
    found = sorted(words(questions["variables"], sites, libraries))
    return {
        "python": sys.version.split()[0],
        "sites": sites,
        "markers": markers(),
        "seconds": [round(each, 3) for each in (recorded - began, audited - recorded, time.monotonic() - audited)],
        "distributions": [[each.name, each.version] for each in distributions],
        "requires": described(distributions, lambda each: each.asks),
        "tags": described(distributions, lambda each: each.tags),
        "wheels": described(distributions, lambda each: each.wheel),
        "records": sum(len(each.files) for each in distributions),
        "recorded": described(distributions, lambda each: len(each.files)),
        "files": files,
        "cuda": {name: cuda for name in questions["cuda_of"] if (cuda := stated_cuda(sites, name))},
        "stated": {name: said for name, each in questions["stated"].items() if (said := stated(sites, **each))},
        "members": members(sites, questions["families"]),
        "sonames": {each.soname: _short(each.path) for each in libraries.installed if each.soname},
        "libraries": len(libraries.installed),
        "linking": linked,
        "cut": {_short(path): part for path, part in sorted(libraries.cut.items()) if _short(path) != path},
        "numpy": dict(numpy_of_old(libraries)) if any(each.is_numpy_2() for each in distributions) else {},
        "architectures": sorted(architectures(sites)),
        "programs": [name for name in questions["programs"] if which(name)],
        "words": found,
    }


# What is installed ----------------------------------------------------------------------------------------------------


def site_folders() -> list[str]:
    """Where packages are: of the venv that this interpreter is started from, else of the interpreter.

    Without the module `site` (-S), so that no .pth file imports anything.
    """
    prefix = os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = []
    settings = _text(os.path.join(prefix, "pyvenv.cfg"))
    if settings:
        found += [os.path.join(prefix, lib, version, "site-packages") for lib in ("lib", "lib64")]
    if not settings or re.search(r"(?im)^include-system-site-packages *= *true", settings):
        paths = sysconfig.get_paths(vars={"base": sys.base_prefix, "platbase": sys.base_exec_prefix})
        home = os.environ.get("PYTHONUSERBASE") or os.path.expanduser("~/.local")
        if not os.environ.get("PYTHONNOUSERSITE"):
            found.append(os.path.join(home, "lib", version, "site-packages"))
        found += [paths["purelib"], paths["platlib"]]
        found += ["/usr/lib/python3/dist-packages"] if sys.base_prefix == "/usr" else []
    return list(dict.fromkeys(os.path.realpath(each) for each in found if os.path.isdir(each)))


def markers() -> dict[str, str]:
    """What requirements' markers are judged by (PEP 508)."""
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": platform.python_version(),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "sys_platform": sys.platform,
    }


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


SITES = site_folders()


def which(name: str) -> str | None:
    """The program, as an app of this environment finds it."""
    folder = os.path.dirname(os.path.abspath(sys.executable))
    return shutil.which(name, path=os.pathsep.join([folder, os.environ.get("PATH", os.defpath)]))


class Distribution:
    """One installed package, as its `.dist-info` or `.egg-info` describes it."""

    def __init__(self, site: str, info: str) -> None:
        """Reads what is there of METADATA, WHEEL, direct_url.json and RECORD."""
        self.folder = folder = os.path.join(site, info)
        words = map(_text, (os.path.join(folder, "METADATA"), os.path.join(folder, "PKG-INFO"), folder))
        head = next(filter(None, words), "").partition("\n\n")[0]
        fields: dict[str, list[str]] = defaultdict(list)
        for key, value in re.findall(r"(?m)^([A-Za-z-]+): *(.*)$", head):
            fields[key.lower()].append(value.strip())
        self.name = normal((fields["name"] or [info.partition("-")[0]])[0])
        self.version = (fields["version"] or [""])[0]
        self.asks = fields["requires-dist"]
        self.installer = _text(os.path.join(folder, "INSTALLER")).strip()
        self.tags = re.findall(r"(?m)^Tag: *(\S+)", _text(os.path.join(folder, "WHEEL")))
        origin = re.search(r'"url": *"([^"]*/)?([^"/]+\.whl)', _text(os.path.join(folder, "direct_url.json")))
        self.wheel = unquote(origin[2]) if origin else ""
        """The wheel's own name, where it was installed from an address or a file."""
        needs = [each for each in self.asks if not re.search(r";.*\bextra\b", each)]
        self.requires = {normal(re.split(r"[^A-Za-z0-9._-]", each)[0]) for each in needs}
        self.files: dict[str, tuple[str, str]] = {}
        """By absolute path: the hash and the size that RECORD states."""
        for path, digest, stated in _rows(os.path.join(folder, "RECORD")):
            self.files[os.path.normpath(os.path.join(site, path))] = (digest, stated)

    def is_kept_by(self, installers: Iterable[str], folders: Iterable[str]) -> bool:
        """Whether it was brought by one of these, or is in one of these folders."""
        return self.installer in installers or self.folder.startswith(tuple(folders))

    def is_numpy_2(self) -> bool:
        """Whether it is NumPy from 2 on."""
        return self.name == "numpy" and not re.match(r"[01]\.", self.version)


def normal(name: str) -> str:
    """The name as the index spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_distributions(site: str) -> Iterator[Distribution]:
    """What has metadata there."""
    for each in sorted(os.listdir(site)):
        if each.endswith((".dist-info", ".egg-info")):
            yield Distribution(site, each)


def described(distributions: Iterable[Distribution], what: Callable[[Distribution], Any]) -> dict[str, Any]:
    """By name, what there is to be said; of two of one name the first, which is the one that is imported."""
    found: dict[str, Any] = {}
    for each in distributions:
        found.setdefault(each.name, what(each))
    return {name: said for name, said in found.items() if said}


def _rows(path: str) -> Iterator[tuple[str, str, str]]:
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            yield from ((row[0], row[1], row[2]) for row in csv.reader(file) if len(row) == 3)
    except OSError:
        return


def record_faults(distributions: Iterable[Distribution], *, deep: bool) -> Iterator[Finding]:
    """Files that are gone, are not as long as RECORD states, or belong to two packages that disagree about them.

    `deep` reads every file, and compares its hash.
    """
    claims: dict[str, list[tuple[Distribution, str, str]]] = defaultdict(list)
    for each in distributions:
        for path, (digest, size) in each.files.items():
            claims[path].append((each, digest, size))
    alike: dict[str, str] = {}
    faults: dict[str, str] = {}
    for path, claim in claims.items():
        if fault := _file_fault(path, {digest for _, digest, _ in claim}, claim[0][2]):
            faults[path] = fault
        elif deep and claim[0][1].startswith("sha256=") and not path.endswith(".pyc"):
            alike[path] = claim[0][1]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        digests = pool.map(_sha256, alike)
        faults.update({path: "hash" for path, digest in zip(alike, digests) if digest != alike[path]})  # noqa: B905
    for path, fault in faults.items():
        names = sorted({each.name for each, _, _ in claims[path]})
        yield {"path": _short(path), "distributions": names, "fault": fault}


def _sha256(path: str) -> str:
    """As RECORD writes it."""
    with _mapped(path) as data:
        digest = hashlib.sha256(data).digest()
    return f"sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def _file_fault(path: str, digests: set[str], stated: str) -> str | None:
    if path.endswith(".pyc"):
        return None  # every interpreter writes its own (numpy 1.26 has one in RECORD)
    if len(digests) > 1:
        return "shared"
    try:
        size = os.stat(path).st_size
    except OSError:
        return "missing"
    return "size" if stated and int(stated) != size else None


def stated_cuda(sites: Iterable[str], package: str) -> str | None:
    """The CUDA that a package was built for, such as `13.0`, from its `version.py`; empty: for none."""
    for site in sites:
        text = _text(os.path.join(site, package, "version.py"))
        if stated := re.search(r"""(?m)^cuda\b[^=\n]*= *['"]([0-9.]+)['"]""", text):
            return stated[1]
        if local := re.search(r"""(?m)^__version__ *= *['"][^'"+]*\+(cu([0-9]+)([0-9])|cpu)['"]""", text):
            return f"{local[2]}.{local[3]}" if local[2] else ""
    return None


def stated(sites: Iterable[str], file: str, patterns: dict[str, str]) -> dict[str, str]:
    """What the first file of that name says, by the patterns' names."""
    text = next(filter(None, (_text(os.path.join(site, file)) for site in sites)), "")
    return {name: found[1] for name, pattern in patterns.items() if (found := re.search(pattern, text))}


def members(sites: Iterable[str], families: Iterable[str]) -> list[str]:
    """The files that match the patterns."""
    return sorted(_short(str(path)) for site in sites for pattern in families for path in Path(site).glob(pattern))


def _short(path: str) -> str:
    """Below the folder of packages, or of the environment."""
    for root in (*SITES, os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))):
        if path.startswith(root + os.sep):
            return os.path.relpath(path, root)
    return path


# Which names occur ----------------------------------------------------------------------------------------------------


def words(names: Iterable[str], sites: Iterable[str], libraries: Libraries) -> set[str]:
    """Those of the names that occur as a word in a Python source, the interpreter, or a library."""
    left = {name: name.encode() for name in names}
    found: set[str] = set()
    if not left:
        return found
    sources = (path for site in sites for path in _files(site) if path.endswith(".py"))
    binaries = sorted((each.path for each in (*libraries.interpreter, *libraries.installed)), key=os.path.getsize)
    for path in (*sources, *binaries):
        if not left:
            break
        with _mapped(path) as data:
            native = data[:4] == b"\x7fELF"
            hits = [name for name, word in left.items() if _occurs(word, data) or (native and _is_inlined(word, data))]
        for name in hits:
            found.add(name)
            del left[name]
    return found


_WORD = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


def _occurs(word: bytes, data: Any) -> bool:
    at = data.find(word)
    while at >= 0:
        before = at > 0 and data[at - 1] in _WORD
        after = at + len(word) < len(data) and data[at + len(word)] in _WORD
        if not before and not after:
            return True
        at = data.find(word, at + 1)
    return False


def numpy_of_old(libraries: Libraries) -> Iterator[tuple[str, str]]:
    """Modules that ask for NumPy's C functions where NumPy 1 has them, and not where NumPy 2 does; and what wrote them."""
    for each in libraries.installed:
        if is_module(each):
            with _mapped(each.path) as data:
                old = data.find(b"numpy.core.multiarray failed to import") >= 0 or data.find(b"numpy.core._multi") >= 0
                if old and data.find(b"numpy._core") < 0:
                    cython = data.find(b"size changed, may indicate binary incompatibility") >= 0
                    yield _short(each.path), "Cython" if cython else "C"


def architectures(sites: Iterable[str]) -> set[str]:
    """What torch's CUDA code is compiled for, such as sm_90: what torch.cuda.get_arch_list() says."""
    found: set[str] = set()
    for site in sites:
        with _mapped(os.path.join(site, "torch", "lib", "libtorch_python.so")) as data:
            at = data.find(b" sm_")
            while at >= 0:
                around = bytes(data[max(0, at - 200) : at + 400])
                for said in re.findall(rb"(?:(?:sm|compute)_\d+[af]? )+(?:sm|compute)_\d+[af]?", around):
                    found.update(said.decode().split())
                at = data.find(b" sm_", at + 400)
    return found


def _is_inlined(word: bytes, data: Any) -> bool:
    """Whether instructions hold it in pieces, as compilers store strings of up to 15 characters (`movabs`, x86-64)."""
    rest = word[8:][-4:]
    at = data.find(word[:8]) if 8 < len(word) < 16 else -1
    while at >= 0:
        moved = at > 1 and data[at - 2] in b"\x48\x49" and 0xB8 <= data[at - 1] <= 0xBF
        if moved and data.find(rest, at + 8, at + 100) >= 0:
            return True
        at = data.find(word[:8], at + 1)
    return False


class _mapped:  # noqa: N801  # reads like a function
    """A file's bytes while the block runs; nothing where it is empty or gone."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> Any:
        self.map: Any = b""
        try:
            with open(self.path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                # Small files are read: mapping costs more.
                self.map = file.read() if size < 65536 else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError:
            pass
        return self.map

    def __exit__(self, *_: object) -> None:
        if not isinstance(self.map, bytes):
            self.map.close()


def _files(folder: str) -> Iterator[str]:
    for where, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if each != "__pycache__"]
        yield from (os.path.join(where, each) for each in files)


# Libraries: ELF, 64 bit, little-endian (elf.h) ------------------------------------------------------------------------

_NEEDED, _HASH, _STRTAB, _SYMTAB, _STRSZ, _SONAME, _RPATH, _RUNPATH = 1, 4, 5, 6, 10, 14, 15, 29
_GNU_HASH, _VERDEF, _VERDEFNUM, _VERNEED, _VERNEEDNUM = 0x6FFFFEF5, 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF


class Library:
    """A shared library's dynamic section; its symbols are read when they are asked for."""

    def __init__(self, path: str, data: Any) -> None:
        """Raises ValueError for anything else than a shared library."""
        if data[:6] != b"\x7fELF\x02\x01":
            raise ValueError(path)
        self.path = path
        self.machine = struct.unpack_from("<H", data, 18)[0]
        self.cut = False
        """Whether the file ends before what is to be loaded of it."""
        self._loads: list[tuple[int, int, int]] = []
        tags = self._dynamic(data)
        strings = self._at(tags.get(_STRTAB, [0])[0])
        text = data[strings : strings + tags.get(_STRSZ, [0])[0]]

        def named(tag: int) -> list[str]:
            return [_string(text, each).decode(errors="replace") for each in tags.get(tag, [])]

        self.needed = named(_NEEDED)
        self.soname = (named(_SONAME) or [""])[0]
        self.runpath = self._folders(named(_RUNPATH))
        self.rpath = [] if self.runpath else self._folders(named(_RPATH))
        self.provides = set(self._definitions(data, tags, text))
        self.wants = list(self._wants(data, tags, text))
        """Versions that a library of that name must have: (name, version)."""
        self._tags = tags
        self._symbols: tuple[frozenset[bytes], frozenset[bytes]] | None = None

    def _dynamic(self, data: Any) -> dict[int, list[int]]:
        offset, size, count = *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54)
        tags: dict[int, list[int]] = defaultdict(list)
        place = (0, 0)
        for each in range(count):
            kind, _, start, address, _, length, _, _ = struct.unpack_from("<IIQQQQQQ", data, offset + each * size)
            self.cut = self.cut or (kind == 1 and start + length > len(data))
            if kind == 1:
                self._loads.append((address, length, start))
            elif kind == 2:
                place = (start, length)
        for tag, value in struct.iter_unpack("<QQ", data[place[0] : place[0] + place[1] // 16 * 16]):
            if tag == 0:
                break
            tags[tag].append(value)
        if not tags:
            raise ValueError(self.path)
        return dict(tags)

    def _at(self, address: int) -> int:
        """Where in the file an address lies."""
        for start, length, offset in self._loads:
            if start <= address < start + length:
                return address - start + offset
        return address

    def _folders(self, paths: list[str]) -> list[str]:
        origin = os.path.dirname(self.path)
        parts = [each for path in paths for each in path.split(":") if each]
        return [re.sub(r"\$(ORIGIN|\{ORIGIN\})", lambda _: origin, each) for each in parts]

    def _definitions(self, data: Any, tags: dict[int, list[int]], text: bytes) -> Iterator[str]:
        at = self._at(tags.get(_VERDEF, [0])[0])
        for _ in range(tags.get(_VERDEFNUM, [0])[0]):
            _, _, _, _, _, names, following = struct.unpack_from("<HHHHIII", data, at)
            yield _string(text, struct.unpack_from("<I", data, at + names)[0]).decode(errors="replace")
            at += following

    def _wants(self, data: Any, tags: dict[int, list[int]], text: bytes) -> Iterator[tuple[str, str]]:
        at = self._at(tags.get(_VERNEED, [0])[0])
        for _ in range(tags.get(_VERNEEDNUM, [0])[0]):
            _, count, file, names, following = struct.unpack_from("<HHIII", data, at)
            entry = at + names
            for _ in range(count):
                _, flags, _, name, more = struct.unpack_from("<IHHII", data, entry)
                if not flags & 2:  # VER_FLG_WEAK
                    yield tuple(_string(text, each).decode(errors="replace") for each in (file, name))  # type: ignore[misc]
                entry += more
            at += following

    @property
    def defined(self) -> frozenset[bytes]:
        """The names of the symbols that others find here."""
        return self._read_symbols()[0]

    @property
    def undefined(self) -> frozenset[bytes]:
        """The names of the symbols that must be found somewhere; weak ones need not."""
        return self._read_symbols()[1]

    def _read_symbols(self) -> tuple[frozenset[bytes], frozenset[bytes]]:
        if self._symbols is None:
            with _mapped(self.path) as data:
                table = self._at(self._tags.get(_SYMTAB, [0])[0])
                strings = self._at(self._tags.get(_STRTAB, [0])[0])
                text = data[strings : strings + self._tags.get(_STRSZ, [0])[0]]
                rows = data[table : table + 24 * self._count(data)]
            defined, undefined = set(), set()
            for name, info, _, section, _, _ in struct.iter_unpack("<IBBHQQ", rows):
                bind = info >> 4
                if bind and section:
                    defined.add(_string(text, name))
                elif bind == 1 and name:
                    undefined.add(_string(text, name))
            self._symbols = frozenset(defined), frozenset(undefined)
        return self._symbols

    def _count(self, data: Any) -> int:
        """How many symbols there are, which only the hash tables tell."""
        if _HASH in self._tags:
            return int(struct.unpack_from("<I", data, self._at(self._tags[_HASH][0]) + 4)[0])
        if _GNU_HASH not in self._tags:
            return 0
        at = self._at(self._tags[_GNU_HASH][0])
        buckets, first, bloom, _ = struct.unpack_from("<IIII", data, at)
        at += 16 + 8 * bloom
        last = max(struct.unpack_from(f"<{buckets}I", data, at), default=0)
        if last < first:
            return int(first)
        at += 4 * buckets
        while not struct.unpack_from("<I", data, at + 4 * (last - first))[0] & 1:
            last += 1
        return int(last) + 1


def _is_cut(data: Any) -> bool:
    """Whether the header, or the table of sections, which linkers write last, is beyond the end."""
    return len(data) < 64 or (data[4] == 2 and bool(struct.unpack_from("<Q", data, 40)[0] > len(data)))


def _string(text: bytes, at: int) -> bytes:
    return text[at : text.index(0, at)]


class Libraries:
    """The libraries of the environment and of the system, found as ld.so finds them."""

    def __init__(self, sites: Iterable[str], driver: Iterable[str]) -> None:
        """Reads every library below the folders."""
        self._read: dict[str, Library | None] = {}
        self.cut: dict[str, str] = {}
        """The libraries that are shorter than they say: whether the `header` or the `content` is not whole."""
        self._driver = tuple(driver)
        self.machine = 0
        program = self.read(os.path.realpath(sys.executable))
        self.machine = program.machine if program else 0
        self._system = _system_cache()
        paths = (path for site in sites for path in _files(site) if ".so" in os.path.basename(path))
        found = [library for path in paths if not os.path.islink(path) and (library := self.read(path))]
        self.installed = sorted({each.path: each for each in found}.values(), key=lambda each: each.path)
        self.by_name: dict[str, list[Library]] = defaultdict(list)
        for each in self.installed:
            self.by_name[each.soname or os.path.basename(each.path)].append(each)
        self.interpreter = Load(self, program, {}).closure if program else []

    def is_driver(self, name: str) -> bool:
        """Whether the machine's driver brings the library."""
        return any(fnmatch.fnmatchcase(name, each) for each in self._driver)

    def read(self, path: str) -> Library | None:
        """The library, once; None for what is none, or is for another processor."""
        if path not in self._read:
            with _mapped(path) as data:
                found = self._parse(path, data)
            self._read[path] = found if found and self.machine in (0, found.machine) else None
        return self._read[path]

    def _parse(self, path: str, data: Any) -> Library | None:
        if data[:4] != b"\x7fELF":
            return None
        try:
            found = Library(path, data)
        except (ValueError, struct.error, IndexError):
            if _is_cut(data):
                self.cut[path] = "header" if len(data) < 64 else "content"
            return None
        if found.cut:
            self.cut[path] = "content"
        return None if found.cut else found

    def find(self, name: str, folders: Iterable[str], runpath: Iterable[str]) -> Library | None:
        """The library of that name: in RPATHs, LD_LIBRARY_PATH, RUNPATH, the system's cache and folders."""
        if "/" in name:
            return self.read(os.path.realpath(name))
        override = [each for each in os.environ.get("LD_LIBRARY_PATH", "").split(":") if each]
        for folder in (*folders, *override, *runpath):
            if os.path.isfile(path := os.path.join(folder, name)) and (found := self.read(os.path.realpath(path))):
                return found
        for path in self._system.get(name, ()):
            if os.path.isfile(path) and (found := self.read(os.path.realpath(path))):
                return found
        multiarch = sysconfig.get_config_var("MULTIARCH") or ""
        for folder in (f"/lib/{multiarch}", f"/usr/lib/{multiarch}", "/lib64", "/usr/lib64", "/lib", "/usr/lib"):
            if os.path.isfile(path := os.path.join(folder, name)) and (found := self.read(os.path.realpath(path))):
                return found
        return None


def _system_cache() -> dict[str, list[str]]:
    """Paths by name, from /etc/ld.so.cache (glibc's dl-cache.h)."""
    found: dict[str, list[str]] = defaultdict(list)
    with _mapped("/etc/ld.so.cache") as data:
        start = data.find(b"glibc-ld.so.cache1.1")
        if start < 0:
            return found
        content = bytes(data[start:])
    for each in range(struct.unpack_from("<I", content, 20)[0]):
        _, name, path, _, levels = struct.unpack_from("<iIIIQ", content, 48 + 24 * each)
        if not levels:  # those for newer processors are there without, too
            found[_string(content, name).decode()].append(_string(content, path).decode())
    return found


class Load:
    """What loading one library loads with it, breadth first, beside what is loaded already."""

    def __init__(
        self,
        libraries: Libraries,
        root: Library,
        loaded: dict[str, Library],
        elsewhere: Callable[[Library, str], Library | None] | None = None,
    ) -> None:
        """`loaded` by name; `elsewhere` may know what the package's own code loads first."""
        self.closure: list[Library] = [root]
        self.missing: list[tuple[Library, str]] = []
        self.driver = False
        self.names = {**loaded, root.soname or os.path.basename(root.path): root}
        self.direct: dict[str, list[Library]] = {}
        """By path: what a library needs itself."""
        loader: dict[str, Library] = {}
        for library in self.closure:  # grows while it is read
            self.direct[library.path] = []
            for name in library.needed:
                found = self.names.get(name) or libraries.find(name, _rpaths(library, loader), library.runpath)
                if found is None and libraries.is_driver(name):
                    self.driver = True
                    continue
                if found is None and elsewhere:
                    found = elsewhere(library, name)
                if found is None:
                    self.missing.append((library, name))
                    continue
                self.names[name] = self.names[found.soname or name] = found
                self.direct[library.path].append(found)
                if all(each is not found for each in self.closure):
                    loader[found.path] = library
                    self.closure.append(found)

    def below(self, library: Library) -> set[str]:
        """The paths of all that a library brings, itself included."""
        found, todo = {library.path}, [library]
        for each in todo:
            fresh = [below for below in self.direct.get(each.path, []) if below.path not in found]
            found.update(below.path for below in fresh)
            todo += fresh
        return found


def _rpaths(library: Library, loader: dict[str, Library]) -> list[str]:
    """RPATH is handed down from loader to loaded; RUNPATH is not, and switches the others off."""
    if library.runpath:
        return []
    folders: list[str] = []
    each: Library | None = library
    while each:
        folders += each.rpath
        each = loader.get(each.path)
    return folders


class Audit:
    """Every library that Python would load, loaded on paper."""

    def __init__(
        self,
        libraries: Libraries,
        distributions: list[Distribution],
        owners: dict[str, str],
        torch_loads: Iterable[str],
    ) -> None:
        """`owners` are names of distributions by path, `torch_loads` patterns of what torch loads at its import."""
        self.libraries = libraries
        self.torch_loads = tuple(torch_loads)
        self.distributions = {each.name: each for each in distributions}
        self.owners = owners
        self.findings: dict[tuple[str, str, str], Finding] = {}
        self._global: list[Library] = list(libraries.interpreter)
        self._sound: set[str] = set()
        self._needs: dict[str, set[str]] = {}

    def run(self) -> list[Finding]:
        """What is wrong, library by library: `missing`, `undefined` or `version`."""
        plain = {each.soname: each for each in self.libraries.interpreter if each.soname}
        torch = dict(plain)
        ours = [each for each in self.libraries.installed if self.owner(each) == "torch"]
        for each in ours:
            if os.path.basename(each.path) == "libtorch_global_deps.so":
                load = self._load(each, torch)
                self._global += load.closure  # torch loads it for everybody (torch/__init__.py, RTLD_GLOBAL)
                torch = load.names
        for each in self.libraries.installed if ours else ():
            if any(fnmatch.fnmatchcase(each.soname, pattern) for pattern in self.torch_loads):
                torch = self._load(each, torch).names
        for each in ours:
            if is_module(each):
                torch = self._load(each, torch).names
        needed = {(self.owner(each), name) for each in self.libraries.installed for name in each.needed}
        for each in self.libraries.installed:
            owner = self.owner(each)
            beside = owner != "torch" and ("torch" in self.requires(owner) or _needs_torch(each))
            leaf = (owner, each.soname or os.path.basename(each.path)) not in needed
            if owner != "torch" and (is_module(each) or (beside and leaf and not is_another_s(each))):
                self._load(each, torch if beside else plain)
        return list(self.findings.values())

    def owner(self, library: Library) -> str:
        """The distribution that brought it; empty: none did."""
        return self.owners.get(library.path, "")

    def requires(self, name: str) -> set[str]:
        """All that a distribution asks for, and what that asks for."""
        if name not in self._needs:
            found = {name}
            todo = [name]
            for each in todo:
                asked = self.distributions[each].requires if each in self.distributions else set()
                todo += sorted(asked - found)
                found |= asked
            self._needs[name] = found
        return self._needs[name]

    def _load(self, root: Library, loaded: dict[str, Library]) -> Load:
        before = {each.path for each in loaded.values()}

        def elsewhere(library: Library, name: str) -> Library | None:
            """Loaded before by Python code: of the package itself (torchaudio), or of one that it asks for (xgrammar)."""
            asked = self.requires(self.owner(root))
            there = (each for each in self.libraries.by_name.get(name, ()) if self.owner(each) in asked)
            # What auditwheel put beside a package, under a name of its own, is loaded by that name alone.
            return next((each for each in there if not os.path.dirname(each.path).endswith(".libs")), None)

        load = Load(self.libraries, root, loaded, elsewhere)
        for library, name in load.missing:
            self._found(root, library, "missing", name)
        broken = {library.path for library, _ in load.missing}
        for library in load.closure:
            if library.path not in before:
                self._versions(root, library, load)
                if not broken & load.below(library):
                    self._undefined(root, library, load)
        return load

    def _versions(self, root: Library, library: Library, load: Load) -> None:
        for name, version in library.wants:
            provider = load.names.get(name)
            if provider and provider.provides and version not in provider.provides:
                self._found(root, library, "version", f"{name} {version}")

    def _undefined(self, root: Library, library: Library, load: Load) -> None:
        if library.path in self._sound:
            return
        left = set(library.undefined)
        for each in (*(each for each in load.closure if each.path in load.below(library)), *self._global):
            left -= each.defined
        if not left:
            self._sound.add(library.path)  # whoever loads it
            return
        for each in load.closure:
            left -= each.defined
        if load.driver:
            left = {each for each in left if not re.match(rb"(cu|nvml|nvPTX)[A-Z]", each)}
        if left:
            first, *more = sorted(left)
            self._found(root, library, "undefined", first.decode(errors="replace"), len(more))

    def _found(self, root: Library, library: Library, kind: str, what: str, more: int = 0) -> None:
        finding = self.findings.setdefault(
            (library.path, kind, what),
            {
                "library": _short(library.path),
                "distribution": self.owner(library),
                "kind": kind,
                "what": what,
                "more": more,
                "roots": [],
            },
        )
        finding["roots"].append(_short(root.path))


def is_module(library: Library) -> bool:
    """Whether this Python imports it."""
    stem, _, rest = os.path.basename(library.path).partition(".")
    return f".{rest}" in EXTENSION_SUFFIXES and f"PyInit_{stem}".encode() in library.defined


def is_another_s(library: Library) -> bool:
    """Whether it is a module for another Python, which this one never loads."""
    _, _, rest = os.path.basename(library.path).partition(".")
    return rest.startswith("cpython-") and f".{rest}" not in EXTENSION_SUFFIXES


def _needs_torch(library: Library) -> bool:
    return any(re.match(r"lib(torch|c10)(_[a-z_]+)?\.so", name) for name in library.needed)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))  # noqa: T201  # what it is for
