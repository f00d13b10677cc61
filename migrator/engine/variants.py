"""The variants of one image: rendered from the bytes that pass anyway, put by the same protocol, tracked one by one."""

import asyncio
import hashlib
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from migrator.core.config import Config
from migrator.core.content import sniff
from migrator.core.errors import ObjectError
from migrator.core.keys import TemplateError, key_problem
from migrator.core.model import Failed, Fault, Made, Outcome, Skip, Skipped, Stood, Stored, Task, Unmade, VariantOutcome
from migrator.core.objects import Guards, Placed, Taken, Upload
from migrator.core.ports import Renderer
from migrator.core.variants import Rendered, Wanted
from migrator.engine.gate import Gate
from migrator.engine.guard import RetryPolicy
from migrator.engine.means import Means
from migrator.engine.placing import place
from migrator.engine.rules import Spec


class Original(Struct, frozen=True):
    """What is known of the image that variants are made of."""

    size: int
    sha256: bytes | None
    content_type: str


class Drawn(Struct, frozen=True):
    """A variant that is rendered and not stored yet; `own` is the task with its key and its mark."""

    own: Task
    rendered: Rendered


class Variants:
    """Makes and stores the variants of images. A failure is that variant's own: nothing but Fatal is raised."""

    def __init__(self, config: Config, means: Means, renderer: Renderer | None, retry: RetryPolicy, gate: Gate) -> None:
        self._means = means
        self._renderer = renderer
        self._retry = retry
        self._gate = gate
        self._specs = means.rules.variants
        self._without_original = {source.name for source in config.sources if not source.keep_original}

    def wanted(self, source: str) -> bool:
        """Whether images of this source have variants at all."""
        return bool(self._specs[source])

    def keeps_original(self, source: str) -> bool:
        """Whether the images themselves are stored too."""
        return source not in self._without_original

    async def render(
        self, task: Task, data: bytes, original: Original, only: Sequence[tuple[str, str]] | None = None
    ) -> "list[Drawn | Unmade]":
        """All variants of the image `data` (or `only` some of them), not stored yet; none where it is no image."""
        specs = [spec for spec in self._specs[task.source] if only is None or spec.name in only]
        if not specs or not is_image(data):
            return []
        keyed, refused = self._keys(task, original, specs)
        rendered = await self._render(data, [spec.wanted for spec, _ in keyed])
        return [
            *refused,
            *(
                Unmade(*spec.name, key, result.fault, result.message)
                if isinstance(result, Failed)
                else Drawn(_own(task, key, spec), result)
                for (spec, key), result in zip(keyed, rendered, strict=True)
            ),
        ]

    async def store(self, drawn: "Sequence[Drawn | Unmade]") -> tuple[VariantOutcome, ...]:
        """Puts what was rendered. Call it only when the original stands: a failed item leaves nothing behind."""
        return tuple(await asyncio.gather(*map(self._store, drawn)))

    def unmade(
        self, task: Task, fault: Fault, message: str, only: Sequence[tuple[str, str]] | None = None
    ) -> tuple[VariantOutcome, ...]:
        """All variants (or `only` some) of an image that could not even be read."""
        specs = (spec for spec in self._specs[task.source] if only is None or spec.name in only)
        return tuple(Unmade(*spec.name, "", fault, message) for spec in specs)

    def _keys(
        self, task: Task, original: Original, specs: Sequence[Spec]
    ) -> tuple[list[tuple[Spec, str]], list[Unmade]]:
        values = self._means.rules.values(task, original.content_type, original.size, original.sha256)
        keyed: list[tuple[Spec, str]] = []
        refused: list[Unmade] = []
        for spec in specs:
            try:
                key = self._means.rules.prefix + spec.key.fill(values | {"format": spec.wanted.format})
                problem = key_problem(key) or self._means.refuses(key)
            except TemplateError as error:
                key, problem = "", str(error)
            if problem:
                refused.append(Unmade(*spec.name, key, Fault.INVALID, f"its key cannot be used: {problem}"))
            else:
                keyed.append((spec, key))
        return keyed, refused

    async def _render(self, data: bytes, wanted: Sequence[Wanted]) -> list[Rendered | Failed]:
        assert self._renderer is not None
        results = await self._renderer.render(data, wanted)
        again = [place for place, result in enumerate(results) if isinstance(result, Failed) and result.retryable]
        if again:
            second = await self._renderer.render(data, [wanted[place] for place in again])
            for place, result in zip(again, second, strict=True):
                results[place] = result
        return results

    async def _store(self, drawn: "Drawn | Unmade") -> VariantOutcome:
        if isinstance(drawn, Unmade):
            return drawn
        own, rendered = drawn.own, drawn.rendered
        name = (rendered.name, rendered.format)
        sha256 = hashlib.sha256(rendered.body).digest()
        try:
            upload = self._means.rules.variant_upload(own, rendered.content_type, len(rendered.body), sha256)
            outcome = await self._retry.call(
                lambda: self._put(own, upload, rendered.body),
                lambda error: self._gate.slow_down(error.retry_after, str(error)),
            )
        except ObjectError as error:
            if error.fault is Fault.FATAL:
                raise
            return Unmade(*name, own.key, error.fault, str(error))
        if isinstance(outcome, Failed) or (isinstance(outcome, Skipped) and outcome.reason is not Skip.IDENTICAL):
            fault = outcome.fault if isinstance(outcome, Failed) else Fault.CONFLICT
            return Unmade(*name, own.key, fault, outcome.message)
        return Made(
            *name,
            key=own.key,
            size=len(rendered.body),
            sha256=sha256,
            etag=outcome.etag or "",
            version_id=outcome.version_id if isinstance(outcome, Stored) else None,
            content_type=rendered.content_type,
            width=rendered.width,
            height=rendered.height,
            quality=rendered.quality,
            encodes=rendered.encodes,
            seconds=rendered.seconds,
            adopted=not isinstance(outcome, Stored) or outcome.adopted,
            replaced=outcome.replaced if isinstance(outcome, Stored) else None,
        )

    async def _put(self, own: Task, upload: Upload, body: bytes) -> Outcome:
        """One attempt, by the protocol of every put."""
        known = self._means.capabilities
        standing = None
        if not known.conditional_put:
            await self._means.requests.spend(1)
            standing = await self._means.store.head(own.key)

        async def send(guards: Guards) -> Placed | Taken:
            await self._means.requests.spend(1)
            await self._means.bandwidth.spend(len(body))
            return await self._means.store.put(upload, body, guards)

        return await place(self._means, own, upload, standing, send, known.digest, known.conditional_put)


def _own(task: Task, key: str, spec: Spec) -> Task:
    """The task of a variant: its key and its mark; what is known of its original's object is not known of it."""
    etag = dict(task.stood.variants).get(spec.name) if task.stood else None
    stood = Stood(etag, None, renewed=True) if etag else None
    return replace(task, key=key, put_id=variant_put_id(task.put_id, *spec.name), upload=None, stood=stood)


def is_image(data: bytes) -> bool:
    """Whether these bytes begin like an image of pixels (an SVG has none)."""
    kind = sniff(data[:4096]) or ""
    return kind.startswith("image/") and kind != "image/svg+xml"


def variant_put_id(put_id: str, name: str, image_format: str) -> str:
    """The mark that a variant carries: that of its original's put, and which variant it is."""
    return f"{put_id}/{name}.{image_format}"
