"""One image -> its variants: decoded once, each made of the smallest picture that suffices."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace
from PIL import Image, UnidentifiedImageError

from migrator.core.errors import Unrendered
from migrator.core.variants import CONTENT_TYPES, Rendered, Wanted
from migrator.images.encoding import encoded, flattened, prepared
from migrator.images.opening import GAP, Picture, Source
from migrator.images.quality import best
from migrator.images.spec import Layout, Size, layout, whole

_ENOUGH = 2.0
"""How many times larger than what is wanted a picture is that is used in place of the decoded one."""

Begin = Callable[[int], None]
"""Is told the number of the variant that is begun."""


class _Job(Struct, frozen=True):
    """A variant that is to be made: its number among those wanted."""

    number: int
    wanted: Wanted
    layout: Layout
    animated: bool


def render(
    data: bytes, wanted: Sequence[Wanted], begin: Begin, pixels: int
) -> Iterator[tuple[int, Rendered | Unrendered]]:
    """The variants, each with its number in `wanted`, the largest first; of an image of at most `pixels`.

    Raises Unrendered, or whatever a decoder raises, when there is no picture to make any of.
    """
    started = time.process_time()
    source = Source(data, pixels)
    jobs = _jobs(wanted, source)
    stills = _Pictures(source.size)
    films = _Pictures(source.size)
    if any(not job.animated for job in jobs):
        stills.add(source.still(_largest(source.size, [job for job in jobs if not job.animated])))
    if any(job.animated for job in jobs):
        films.add(source.animation(_largest(source.size, [job for job in jobs if job.animated])))
    share = (time.process_time() - started) / max(1, len(jobs))
    for job in jobs:
        begin(job.number)
        started = time.process_time()
        try:
            made = _variant(job, films if job.animated else stills)
        except MemoryError:
            raise
        except Unrendered as refused:
            yield job.number, refused
        except Exception as error:
            yield job.number, Unrendered(described(error))
        else:
            yield job.number, replace(made, seconds=share + time.process_time() - started)


def described(error: Exception) -> str:
    """An error of a decoder or encoder in one line."""
    if isinstance(error, UnidentifiedImageError):
        return "it is damaged: no decoder can read its header"
    words = str(error) if isinstance(error, OSError | ValueError | SyntaxError) else ""
    return (words or f"{type(error).__name__}: {error}").splitlines()[0].removesuffix(": ")


def _jobs(wanted: Sequence[Wanted], source: Source) -> list[_Job]:
    """Largest first: what is made of one serves the next. The same layouts stand side by side."""
    frames = source.frames
    jobs = [
        _Job(number, each, layout(each, source.size), each.animated and each.format != "jpeg" and frames > 1)
        for number, each in enumerate(wanted)
    ]
    return sorted(jobs, key=lambda job: (job.layout.scale, job.layout.box, job.layout.canvas), reverse=True)


def _largest(image: Size, jobs: Sequence[_Job]) -> Size:
    """The size of the whole image of which every job can be made."""
    across, down = (max(job.layout.scale[i] for job in jobs) for i in range(2))
    return max(1, round(image[0] * across)), max(1, round(image[1] * down))


class _Pictures:
    """Pictures of one whole image in several sizes; the first is the decoded one."""

    def __init__(self, whole: Size) -> None:
        self.whole = whole
        """Width and height of the image itself."""
        self._pictures: list[Picture] = []
        self._last: tuple[Layout, Picture] | None = None

    def add(self, picture: Picture) -> None:
        """Another size."""
        self._pictures.append(picture)

    def laid_out(self, wanted: Layout) -> Picture:
        """The image within the layout, without a border; kept, as the next format wants the same."""
        if self._last and self._last[0] == wanted:
            return self._last[1]
        base = self._smallest(wanted)
        across, down = base.size[0] / self.whole[0], base.size[1] / self.whole[1]
        left, top, right, bottom = wanted.box
        box = left * across, top * down, min(right * across, base.size[0]), min(bottom * down, base.size[1])
        made = base
        if wanted.size != base.size or box != whole(base.size):
            made = replace(base, frames=tuple(_resized(frame, wanted.size, box) for frame in base.frames))
        if wanted.box == whole(self.whole):
            self._pictures.append(made)
        self._last = wanted, made
        return made

    def _smallest(self, wanted: Layout) -> Picture:
        """The smallest picture that is large enough; the decoded one where none is."""
        across, down = (scale * side for scale, side in zip(wanted.scale, self.whole, strict=True))
        enough = [
            picture
            for picture in self._pictures[1:]
            if picture.size[0] >= _ENOUGH * across and picture.size[1] >= _ENOUGH * down
        ]
        return min(enough, key=lambda picture: picture.size, default=self._pictures[0])


def _resized(image: Image.Image, size: Size, box: tuple[float, float, float, float]) -> Image.Image:
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=GAP)


def _variant(job: _Job, pictures: _Pictures) -> Rendered:
    """Encodes until it fits. Raises Unrendered where it never does."""
    wanted = job.wanted

    def ready(step: int) -> Picture:
        laid = layout(wanted, pictures.whole, step)
        picture = _bordered(pictures.laid_out(laid), laid.canvas, wanted.background)
        return prepared(picture, wanted.format, wanted.background, strip=wanted.strip)

    found = best(wanted.format, wanted.quality, wanted.max_bytes, ready, partial(encoded, wanted.format))
    width, height = found.picture.size
    return Rendered(
        name=wanted.name,
        format=wanted.format,
        body=found.body,
        width=width,
        height=height,
        quality=None if wanted.format == "png" else found.quality,
        encodes=found.encodes,
        content_type=CONTENT_TYPES[wanted.format],
        seconds=0.0,
        source=pictures.whole,
    )


def _bordered(picture: Picture, canvas: Size, background: tuple[int, int, int]) -> Picture:
    """The picture in the middle of a canvas of the background's colour."""
    if picture.size == canvas:
        return picture
    place = (canvas[0] - picture.size[0]) // 2, (canvas[1] - picture.size[1]) // 2
    frames = []
    for frame in picture.frames:
        opaque = flattened(frame, background)
        gray = opaque.mode == "L" and len(set(background)) == 1
        board = Image.new("L" if gray else "RGB", canvas, background[0] if gray else background)
        board.paste(opaque, place)
        frames.append(board)
    return replace(picture, frames=tuple(frames))
