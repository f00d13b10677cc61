"""`python -m benchmarks.images`: what variants cost, against libvips and a plain script.

Exit status 0 when all targets were met, else 1. Each contestant runs in a process of its own; CPU is that of this
process and of its workers, from a warm start.
"""

import argparse
import asyncio
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageOps, ImageStat

from benchmarks.measuring import descendants, wait_for_quiet
from benchmarks.photographs import TWELVE_MEGAPIXELS, photograph_jpeg
from migrator.core.variants import Fit, Rendered, Wanted
from migrator.images.pool import RenderPool, cores

SMALL = Wanted("small", "jpeg", 300, 300, quality=85)
FORMATS = ("avif", "webp", "jpeg")
SIX = [Wanted("full", name, 1200, 1200, quality=60 if name == "avif" else 85, max_bytes=100_000) for name in FORMATS]
SIX += [Wanted("thumbnail", name, 150, 150, Fit.COVER, quality=80) for name in FORMATS]
"""The variants of examples/local-photos.toml."""

LIBVIPS = 1.35
"""At most this times its CPU for one thumbnail."""
SCRIPT = 0.6
"""At most this part of its CPU for the six variants."""
BUSY = 0.9
"""At least this part of all cores while many images pass."""
IN_FLIGHT = 24
MEMORY = 512 << 20
"""Bytes at most, of all processes together, while IN_FLIGHT images of 12 MP are."""

Contestant = Callable[[Sequence[bytes], int], dict[str, float]]


def cpu_of(pids: Iterable[int]) -> float:
    """CPU seconds of processes, to the nanosecond: their clock has an id that follows from theirs. (Linux)"""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def ours(wanted: Sequence[Wanted]) -> Contestant:
    """Through the pool, one worker: what moving the bytes there and back costs is in it."""

    async def run(photos: Sequence[bytes], rounds: int) -> dict[str, float]:
        pool = RenderPool(1)
        await pool.render(photos[0], wanted)
        tree = descendants(os.getpid())
        began = cpu_of(tree)
        results = [await pool.render(photo, wanted) for _ in range(rounds) for photo in photos]
        spent = cpu_of(tree) - began
        await pool.close()
        made = [[each for each in result if isinstance(each, Rendered)] for result in results]
        assert all(len(each) == len(wanted) for each in made)
        full = [each for result in made for each in result if each.name == "full"]
        found = {"cpu": spent / len(results)}
        if full:
            found["encodes"] = sum(each.encodes for each in full) / len(full)
            first = zip(photos, made, strict=False)
            found |= _compared([(photo, each.format, each.body) for photo, result in first for each in result[:3]])
        return found

    return lambda photos, rounds: asyncio.run(run(photos, rounds))


def libvips(photos: Sequence[bytes], rounds: int) -> dict[str, float]:
    """The same thumbnail by libvips, with one thread and the same tables in the JPEG."""
    os.environ["VIPS_CONCURRENCY"] = "1"
    import pyvips

    def thumbnail(photo: bytes) -> None:
        image = pyvips.Image.thumbnail_buffer(photo, 300, height=300, size="down")
        image.jpegsave_buffer(Q=85, optimize_coding=True, interlace=True, keep="icc")

    pyvips.cache_set_max(0)
    thumbnail(photos[0])
    began = time.process_time()
    for _ in range(rounds):
        for photo in photos:
            thumbnail(photo)
    return {"cpu": (time.process_time() - began) / (rounds * len(photos))}


def script(photos: Sequence[bytes], rounds: int) -> dict[str, float]:
    """What one would write first: each variant decodes the photo, and quality goes down by 5 until it fits."""
    began = time.process_time()
    encodes, full = 0, []
    for _ in range(rounds):
        for photo in photos:
            for wanted in SIX:
                image = ImageOps.exif_transpose(Image.open(BytesIO(photo)))
                if wanted.fit is Fit.COVER:
                    image = ImageOps.fit(image, (150, 150))
                else:
                    image.thumbnail((1200, 1200))
                body, tried = _lowered(image, wanted)
                if wanted.name == "full":
                    encodes += tried
                    full.append((photo, wanted.format, body))
    cpu = (time.process_time() - began) / (rounds * len(photos))
    return {"cpu": cpu, "encodes": encodes / len(full), **_compared(full)}


def _lowered(image: Image.Image, wanted: Wanted) -> tuple[bytes, int]:
    for tried, quality in enumerate(range(wanted.quality, 0, -5), 1):
        buffer = BytesIO()
        image.save(buffer, wanted.format, quality=quality)
        if wanted.max_bytes is None or buffer.tell() <= wanted.max_bytes:
            return buffer.getvalue(), tried
    raise AssertionError("no quality fits")


def _compared(full: Sequence[tuple[bytes, str, bytes]]) -> dict[str, float]:
    """Means over photographs: how like each format is to its photograph, in dB, and the kilobytes that it has."""
    found: dict[str, float] = {}
    for name in FORMATS:
        each = [(photo, body) for photo, image_format, body in full if image_format == name]
        found[f"{name} dB"] = sum(_likeness(photo, body) for photo, body in each) / len(each)
        found[f"{name} kB"] = sum(len(body) for _, body in each) / len(each) / 1000
    return found


def _likeness(photo: bytes, variant: bytes) -> float:
    """Peak signal-to-noise ratio (dB) of a variant against all pixels of its photo, made as small."""
    small = Image.open(BytesIO(variant)).convert("RGB")
    whole = Image.open(BytesIO(photo)).convert("RGB").resize(small.size, Image.Resampling.LANCZOS)
    squares = sum(ImageStat.Stat(ImageChops.difference(small, whole)).sum2)
    return 10 * math.log10(255 * 255 * 3 * small.width * small.height / max(1.0, squares))


def many(photos: Sequence[bytes], count: int) -> dict[str, float]:
    """`count` images, IN_FLIGHT at once: how busy the cores are, the memory of all, the longest turn of the loop."""

    async def run() -> dict[str, float]:
        pool = RenderPool()
        await asyncio.gather(*(pool.render(photos[0], SIX[3:]) for _ in range(2 * cores())))
        tree = descendants(os.getpid())
        places = asyncio.Semaphore(IN_FLIGHT)
        peak, turn = 0, 0.0

        async def one(number: int) -> None:
            async with places:
                # A copy: each image in flight has bytes of its own, as it would if it had just been read.
                copy = await asyncio.to_thread(lambda: bytes(bytearray(photos[number % len(photos)])))
                await pool.render(copy, SIX)

        async def watch() -> None:
            nonlocal peak, turn
            while True:
                peak = max(peak, sum(_resident(pid) for pid in tree))
                for _ in range(20):
                    began = time.thread_time()
                    await asyncio.sleep(0.002)
                    turn = max(turn, time.thread_time() - began)

        watcher = asyncio.create_task(watch())
        started, began = time.perf_counter(), cpu_of(tree)
        await asyncio.gather(*(one(number) for number in range(count)))
        seconds, cpu = time.perf_counter() - started, cpu_of(tree) - began
        watcher.cancel()
        await pool.close()
        return {"busy": cpu / seconds / cores(), "rate": count / seconds, "memory": peak, "turn": turn}

    return asyncio.run(run())


def _resident(pid: int) -> int:
    """Bytes in memory that are this process's own; shared pages are counted once a process all the same."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


CONTESTANTS: dict[str, Contestant] = {
    "small-migrator": ours([SMALL]),
    "small-libvips": libvips,
    "six-migrator": ours(SIX),
    "six-script": script,
    "many": many,
}


def measured(name: str, folder: Path, rounds: int) -> dict[str, float]:
    """What one contestant says of itself, in a fresh process, once the machine is quiet."""
    wait_for_quiet(60)
    command = [sys.executable, "-m", "benchmarks.images", "--contestant", name, str(folder), str(rounds)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    told = ", ".join(f"{key} {value:.4g}" for key, value in found.items())
    print(f"{name}: {told}", flush=True)
    return found


def check(what: str, reached: float, wanted: float, *, least: bool = False, unit: str = "") -> bool:
    """Prints one target."""
    passed = reached >= wanted if least else reached <= wanted
    sign = ">=" if least else "<="
    print(f"{'PASS' if passed else 'FAIL'}  {what}: {reached:.2f}{unit} (target {sign} {wanted:.2f}{unit})")
    return passed


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.images", description=__doc__)
    parser.add_argument("--photos", type=int, default=6, help="different photographs of 12 MP")
    parser.add_argument("--rounds", type=int, default=5, help="times that the thumbnail is made of each")
    parser.add_argument("--many", type=int, default=200, help="images that pass at once")
    parser.add_argument("--contestant", nargs=3, metavar=("NAME", "FOLDER", "ROUNDS"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.contestant:
        name, place, rounds = options.contestant
        photos = [path.read_bytes() for path in sorted(Path(place).iterdir())]
        print(json.dumps(CONTESTANTS[name](photos, int(rounds))))
        return 0
    with tempfile.TemporaryDirectory(prefix="migrator-photographs-") as place:
        folder = Path(place)
        for seed in range(options.photos):
            (folder / f"{seed:03}.jpg").write_bytes(photograph_jpeg(seed, TWELVE_MEGAPIXELS))
        small, vips = (measured(f"small-{name}", folder, options.rounds) for name in ("migrator", "libvips"))
        six, plain = (measured(f"six-{name}", folder, 1) for name in ("migrator", "script"))
        passing = measured("many", folder, options.many)
    passed = [
        check("12 MP JPEG to 300 px, CPU / libvips", small["cpu"] / vips["cpu"], LIBVIPS),
        check("six variants, CPU / plain script", six["cpu"] / plain["cpu"], SCRIPT),
        check(f"busy part of {cores()} cores", passing["busy"], BUSY, least=True),
        check("peak memory of all processes", passing["memory"] / 2**20, MEMORY / 2**20, unit=" MiB"),
    ]
    for name in FORMATS:
        told = [f"{each[f'{name} dB']:.2f} dB in {each[f'{name} kB']:.0f} kB" for each in (six, plain)]
        print(f"{name}, 1200 px, max_bytes 100 kB: {told[0]}; by the script {told[1]}")
    print(f"longest turn of the event loop: {passing['turn'] * 1000:.1f} ms of CPU")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
