"""Packs a folder into compressed pieces, and joins pieces that arrive one by one.

A piece is a whole xz stream that holds a part of one tar archive, so pieces can be unpacked in any order and at the same
time, and `cat *.xz | tar -xJ` unpacks all of them by hand. The manifest has size and SHA-256 of every piece and every file.
"""

import concurrent.futures
import hashlib
import io
import json
import lzma
import os
import re
import shutil
import tarfile
from pathlib import Path

MANIFEST = "manifest.json"
FORMAT = 1
MIB = 1 << 20
PIECE_MIB_MAX = 60
# Leaves room for a checkout beside a piece in a transfer of 64 MiB.
PIECE_MIB = 52
# What the compressor may still hold back when a piece is closed.
RESERVE = MIB
CHUNK = 256 << 10
# Files of the archive have one date, so that the same files give the same pieces. It is old enough for a model directory to
# count as settled.
DATE = 1_700_000_000
NAME = re.compile(r"ortus-gpu-kit\.\d{3}\.xz")


class KitError(Exception):
    """What is wrong with pieces, files or the machine, in words for the person who runs the kit."""


class Missing(KitError):
    """Pieces that have not arrived."""


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(MIB):
            digest.update(chunk)
    return digest.hexdigest()


def files_below(folder):
    """The regular files below a folder, as relative paths in order."""
    found = [p for p in Path(folder).rglob("*") if p.is_file()]
    return sorted(p.relative_to(folder).as_posix() for p in found)


class PieceWriter(io.RawIOBase):
    """A file that compresses what is written to it into pieces of limited size."""

    def __init__(self, folder, piece_bytes, preset):
        super().__init__()
        self.folder, self.preset = Path(folder), preset
        self.limit = piece_bytes
        self.pieces, self.file, self.compressor = [], None, None

    def writable(self):
        return True

    def write(self, given):
        given = memoryview(given)
        for start in range(0, len(given), CHUNK):
            self.feed(given[start : start + CHUNK])
        return len(given)

    def feed(self, chunk):
        if self.file is None:
            name = f"ortus-gpu-kit.{len(self.pieces) + 1:03}.xz"
            self.file = open(self.folder / name, "wb")
            self.compressor = lzma.LZMACompressor(check=lzma.CHECK_CRC64, preset=self.preset)
            self.unpacked = 0
        self.file.write(self.compressor.compress(chunk))
        self.unpacked += len(chunk)
        if self.file.tell() + min(RESERVE, self.limit // 2) >= self.limit:
            self.finish_piece()

    def finish_piece(self):
        if self.file is None:
            return
        self.file.write(self.compressor.flush())
        self.file.close()
        path = Path(self.file.name)
        size = path.stat().st_size
        if size > self.limit:
            raise KitError(f"{path.name} has {size} bytes, over the limit of {self.limit}")
        piece = {"name": path.name, "bytes": size, "sha256": sha256(path), "unpacked_bytes": self.unpacked}
        self.pieces.append(piece)
        self.file = None


def pack(folder, out, piece_bytes, preset, about):
    """Packs every file of `folder` into `out`; returns the manifest."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for old in out.iterdir():
        if NAME.fullmatch(old.name) or old.name == MANIFEST:
            old.unlink()
    writer = PieceWriter(out, piece_bytes, preset)
    contents = []
    with tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name in files_below(folder):
            path = Path(folder) / name
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = path.stat().st_size, DATE
            entry.mode = 0o755 if os.access(path, os.X_OK) else 0o644
            with open(path, "rb") as file:
                archive.addfile(entry, file)
            contents.append({"path": name, "bytes": entry.size, "mode": entry.mode, "sha256": sha256(path)})
    writer.finish_piece()
    manifest = {"format": FORMAT, "about": about, "pieces": writer.pieces, "contents": contents}
    (out / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def read_manifest(path):
    """Reads and checks a manifest."""
    try:
        manifest = json.loads(Path(path).read_text())
        if manifest["format"] != FORMAT:
            raise KitError(f"{path} has format {manifest['format']}; this kit reads format {FORMAT}: pack again")
        for piece in manifest["pieces"]:
            if not NAME.fullmatch(piece["name"]):
                raise KitError(f"{path} names a piece {piece['name']!r}")
        for file in manifest["contents"]:
            if file["path"].startswith("/") or ".." in file["path"].split("/"):
                raise KitError(f"{path} names a file {file['path']!r}")
        return manifest
    except OSError as error:
        raise Missing(f"{path} cannot be read: {error.strerror}; carry it with the pieces") from error
    except (ValueError, KeyError, TypeError) as error:
        raise KitError(f"{path} is no manifest of this kit: {error!r}") from error


class Inbox:
    """Accepts pieces as they arrive, and joins them when all are there.

    An accepted piece is kept unpacked below `work`, so the piece itself may go.
    """

    def __init__(self, manifest, work):
        self.manifest = manifest
        every = "".join(piece["sha256"] for piece in manifest["pieces"])
        self.id = hashlib.sha256(every.encode()).hexdigest()[:16]
        self.parts = Path(work) / f"parts-{self.id}"
        self.kit = Path(work) / f"kit-{self.id}"

    def part(self, piece):
        return self.parts / (piece["name"] + ".part")

    def missing(self):
        if self.is_joined():
            return []
        return [p for p in self.manifest["pieces"] if not self.part(p).exists()]

    def accept(self, folders):
        """Takes the pieces that lie in `folders`; returns what is wrong with the others."""
        self.parts.mkdir(parents=True, exist_ok=True)
        there = [(p, Path(f) / p["name"]) for p in self.missing() for f in folders]
        there = [(piece, path) for piece, path in there if path.is_file()]
        with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            faults = pool.map(lambda found: self.accept_one(*found), there)
            return [fault for fault in faults if fault]

    def accept_one(self, piece, path):
        size = path.stat().st_size
        if size != piece["bytes"]:
            return f"{path} is damaged: it has {size} bytes instead of {piece['bytes']}; carry it again"
        if sha256(path) != piece["sha256"]:
            return f"{path} is damaged: its SHA-256 is not the manifest's; carry it again"
        part = self.part(piece)
        staging = part.with_suffix(".new")
        with lzma.open(path) as source, open(staging, "wb") as target:
            shutil.copyfileobj(source, target, MIB)
        os.replace(staging, part)
        return None

    def is_joined(self):
        return (self.kit / MANIFEST).exists()

    def join(self):
        """Extracts the files from accepted pieces, checks them, and returns their folder."""
        if missing := self.missing():
            names = ", ".join(piece["name"] for piece in missing)
            raise Missing(f"{len(missing)} of {len(self.manifest['pieces'])} pieces are missing: {names}")
        if not self.is_joined():
            self.extract()
        self.check_files()
        return self.kit

    def extract(self):
        staging = self.kit.with_suffix(".new")
        shutil.rmtree(staging, ignore_errors=True)
        modes = {file["path"]: file["mode"] for file in self.manifest["contents"]}
        parts = [self.part(piece) for piece in self.manifest["pieces"]]
        with Chain(parts) as chain, tarfile.open(fileobj=chain, mode="r|") as archive:
            for entry in archive:
                if entry.name not in modes or not entry.isfile():
                    raise KitError(f"the pieces hold {entry.name!r}, which the manifest does not list")
                path = staging / entry.name
                path.parent.mkdir(parents=True, exist_ok=True)
                with open(path, "wb") as target:
                    shutil.copyfileobj(archive.extractfile(entry), target, MIB)
                path.chmod(modes[entry.name])
                os.utime(path, (DATE, DATE))
        (staging / MANIFEST).write_text(json.dumps(self.manifest))
        os.replace(staging, self.kit)
        shutil.rmtree(self.parts)

    def check_files(self):
        for file in self.manifest["contents"]:
            path = self.kit / file["path"]
            if not path.is_file() or sha256(path) != file["sha256"]:
                raise KitError(f"{path} is missing or damaged; delete {self.kit} and carry the pieces again")


class Chain(io.RawIOBase):
    """Files read one after another, as if they were one."""

    def __init__(self, paths):
        super().__init__()
        self.paths, self.file = list(paths), None

    def readable(self):
        return True

    def read(self, size=-1):
        found = bytearray()
        while size < 0 or len(found) < size:
            if self.file is None:
                if not self.paths:
                    break
                self.file = open(self.paths.pop(0), "rb")
            chunk = self.file.read(size - len(found) if size >= 0 else -1)
            if not chunk:
                self.file.close()
                self.file = None
            found += chunk
        return bytes(found)

    def close(self):
        if self.file is not None:
            self.file.close()
            self.file = None
        super().close()
