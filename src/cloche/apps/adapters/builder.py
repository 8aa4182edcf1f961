"""From the files of a version to the image that its requests start from.

The entry module is evaluated once, in a fresh instance of its language's image, with the version's
files in place. What the guest has become is the image. Invariants:
- evaluation sees a fixed clock and a fixed seed and no effects: the same files and environment make
  the same image, here and in another process;
- the kept form of an image is signed, and opens for the same files and the same guest alone.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.apps.adapters.evaluation import ASK_NOTHING, Evaluated, Recipe
from cloche.apps.adapters.guest_web import wants_web, web_files
from cloche.apps.bundle import ROOT, Bundle
from cloche.apps.errors import (
    AppImageError,
    BuildError,
    HandlerMissingError,
    ManifestError,
    TopLevelEffectError,
    TopLevelTimeError,
)
from cloche.apps.messages import load_question
from cloche.engine.abi import APP_PROGRAM
from cloche.engine.adapters.derived import image_of
from cloche.engine.adapters.images import WARM_CLOCK_NS
from cloche.engine.catalogue import choose_image, definition_of
from cloche.engine.errors import SnapshotError, UnknownImageError
from cloche.engine.snapshot import check_snapshot, seal, unseal
from cloche.exec.errors import TimeoutExceededError
from cloche.exec.request import LANGUAGES, RunRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.apps.manifest import Manifest
    from cloche.engine.adapters.images import Image, Images
    from cloche.engine.catalogue import Language
    from cloche.engine.snapshot import Snapshot
    from cloche.gate.policy import Policy
    from cloche.limits import Limits

STATE: Final = "app"  # name of the session state that every run of an app starts from


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltApp:
    """A version that can answer.

    Args:
        version: digest of its files.
        manifest: what it says of itself.
        env: the values of its environment.
        limits: ceilings of one request.
        policy: what its code may do.
        image: what requests start from; None for an app of files alone.
        handlers: what its module answers: of `fetch`, `scheduled`, `job`.
        printed: what evaluating it printed.
    """

    version: str
    manifest: Manifest
    env: Mapping[str, str]
    limits: Limits
    policy: Policy
    image: Image | None = field(repr=False)
    handlers: frozenset[str]
    printed: str = ""
    snapshot: Snapshot | None = field(default=None, repr=False)
    _pattern: list[RunRequest] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def guest_language(self) -> Language:
        """Which guest runs it."""
        return LANGUAGES[self.manifest.language]

    def request(self, code: str, *, seed: int, now_ns: int, stdin: bytes = b"") -> RunRequest:
        """Return the run that answers one question."""
        if not self._pattern:
            self._pattern.append(self._first_request())
        return self._pattern[0].again(code=code, seed=seed, now_ns=now_ns, stdin=stdin)

    def _first_request(self) -> RunRequest:
        return RunRequest(
            language=self.guest_language,
            code="",
            filename=APP_PROGRAM,
            limits=self.limits,
            seed=0,
            now_ns=0,
            env=self.env,
            cwd=ROOT,
            policy=self.policy,
            state=STATE,
            real_time=True,
        )

    def keep(self, key: bytes) -> bytes:
        """Return the signed form that `Builder.restore` takes, empty for an app of files alone.

        Args:
            key: of snapshots, 32 bytes.
        """
        if self.snapshot is None:
            return b""
        kept = _Kept(
            handlers=sorted(self.handlers), printed=self.printed, snapshot=seal(self.snapshot, key)
        )
        body = msgspec.msgpack.encode(kept)
        return hmac.new(key, _MAGIC + body, hashlib.sha256).digest() + body


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    handlers: list[str]
    printed: str
    snapshot: bytes


_MAGIC: Final = b"cloche app image 1\0"
_MAC_BYTES: Final = 32


class Builder:
    """Makes images of versions.

    Args:
        images: those of the languages.
        evaluate: evaluates a recipe, here or in another process.
        limits: those of the host: groups `apps`, `guests` and `gate`.
        secret: makes the randomness of the top level one that nobody else can compute. Images are
            equal among those who share it.
    """

    def __init__(
        self,
        images: Images,
        evaluate: Callable[[Recipe], Evaluated],
        limits: Limits,
        *,
        secret: bytes = b"",
    ) -> None:
        self._images = images
        self._evaluate = evaluate
        self._limits = limits
        self._secret = secret

    def build(
        self, bundle: Bundle, manifest: Manifest, env: Mapping[str, str] | None = None
    ) -> BuiltApp:
        """Evaluate a version.

        Args:
            bundle: its files.
            manifest: what it says of itself.
            env: values that replace the defaults of the manifest.

        Raises:
            TopLevelEffectError, TopLevelTimeError, HandlerMissingError, BuildError: what the code
                did wrong; `printed` has its output.
            ManifestError: the environment lacks a value, or the image is of another language.
        """
        values = manifest.environment(env)
        if not manifest.main:
            return self._built(bundle, manifest, values)
        found = self._evaluate(self._recipe(bundle, manifest, values))
        printed = found.printed.decode(errors="replace")
        handlers = _handlers(found, manifest, printed)
        assert found.snapshot is not None
        before = self._start(bundle, manifest)
        return self._built(
            bundle,
            manifest,
            values,
            image=image_of(before, self._checked(found.snapshot, before)),
            handlers=handlers,
            snapshot=found.snapshot,
            printed=printed,
        )

    def restore(
        self,
        bundle: Bundle,
        manifest: Manifest,
        env: Mapping[str, str] | None,
        kept: bytes,
        key: bytes,
    ) -> BuiltApp:
        """Return what `build` returned, from its kept form, without running anything.

        Raises:
            AppImageError: it was changed, signed with another key, or belongs to other files or
                another guest; `build` makes it again.
        """
        values = manifest.environment(env)
        if not manifest.main:
            return self._built(bundle, manifest, values)
        mac, body = kept[:_MAC_BYTES], kept[_MAC_BYTES:]
        if not hmac.compare_digest(mac, hmac.new(key, _MAGIC + body, hashlib.sha256).digest()):
            raise AppImageError("the kept state of this version was changed, or is none")
        content = msgspec.msgpack.decode(body, type=_Kept)
        before = self._start(bundle, manifest)
        try:
            snapshot = unseal(content.snapshot, key, limits=self._limits, image_id=before.id)
            image = image_of(before, self._checked(snapshot, before))
        except SnapshotError as error:
            raise AppImageError(f"the kept state of this version: {error.message}") from error
        return self._built(
            bundle,
            manifest,
            values,
            image=image,
            handlers=frozenset(content.handlers),
            snapshot=snapshot,
            printed=content.printed,
        )

    def _built(
        self, bundle: Bundle, manifest: Manifest, env: Mapping[str, str], **made: Any
    ) -> BuiltApp:
        snapshot: Snapshot | None = made.get("snapshot")
        ready_bytes = 0 if snapshot is None else snapshot.memory_bytes
        return BuiltApp(
            version=bundle.digest,
            manifest=manifest,
            env=env,
            limits=manifest.limits_of(self._limits, ready_bytes=ready_bytes),
            policy=manifest.policy(),
            **{"image": None, "handlers": frozenset(), **made},
        )

    def _seed(self, bundle: Bundle) -> int:
        text = b"top level\0" + bundle.digest.encode()
        return int.from_bytes(hmac.new(self._secret, text, hashlib.sha256).digest()[:8])

    def _files(self, bundle: Bundle, manifest: Manifest) -> dict[str, bytes]:
        files = bundle.mounted()
        if manifest.language == "python" and wants_web(bundle):
            files |= web_files()
        return files

    def _start(self, bundle: Bundle, manifest: Manifest) -> Image:
        """Return the image that a version is evaluated in: that of its language, with its files."""
        base = self._images.get(_image_name(bundle, manifest), fuel=self._fuel(manifest))
        return self._images.with_files(base, self._files(bundle, manifest))

    def _checked(self, snapshot: Snapshot, before: Image) -> Snapshot:
        """Return a snapshot that may have been taken elsewhere, if an image can be made of it."""
        check_snapshot(snapshot)
        limit_bytes = self._limits.guests.memory_limit_bytes
        if snapshot.image_id != before.id or snapshot.memory_bytes > limit_bytes:
            raise SnapshotError(
                f"the snapshot has {snapshot.memory_bytes} bytes of memory, at most {limit_bytes} "
                "are allowed (guests.memory_limit_bytes), or belongs to another image"
            )
        return snapshot

    def _fuel(self, manifest: Manifest) -> bool:
        return manifest.limits_of(self._limits).guests.fuel > 0

    def _recipe(self, bundle: Bundle, manifest: Manifest, env: Mapping[str, str]) -> Recipe:
        # A top level may take what any guest may; what it leaves is where requests begin.
        most_bytes = self._limits.guests.memory_limit_bytes
        limits = manifest.limits_of(self._limits, ready_bytes=most_bytes).replace(
            {"guests": {"timeout_ms": self._limits.apps.build_timeout_ms}}
        )
        request = RunRequest(
            language=LANGUAGES[manifest.language],
            code=load_question(f"{ROOT}/{manifest.main}"),
            filename=APP_PROGRAM,
            limits=limits,
            seed=self._seed(bundle),
            now_ns=WARM_CLOCK_NS,
            env=env,
            cwd=ROOT,
            policy=ASK_NOTHING,
            state=STATE,
        )
        return Recipe(
            image=_image_name(bundle, manifest),
            fuel=self._fuel(manifest),
            files=self._files(bundle, manifest),
            request=request,
        )


def _handlers(found: Evaluated, manifest: Manifest, printed: str) -> frozenset[str]:
    """Return what an evaluated module handles, or say why it cannot be used."""
    error = found.execution.error
    if isinstance(error, TimeoutExceededError):
        raise TopLevelTimeError(
            f"{manifest.main} was not evaluated in time (apps.build_timeout_ms): its top level "
            "must end, so leave loops, intervals and servers to handlers",
            printed=printed,
        )
    if error is not None and found.asked:
        raise TopLevelEffectError(
            f"the top level of {manifest.main} asked for {found.asked[0]}: it is evaluated "
            "once, for all requests, and may ask for nothing; do it in the handler",
            printed=printed,
            asked=found.asked[0],
        )
    if error is not None:
        raise BuildError(f"{manifest.main} cannot be evaluated: {error.message}", printed=printed)
    if found.handlers is None:
        raise BuildError(
            f"the evaluation of {manifest.main} ended before it was complete", printed=printed
        )
    if not found.handlers:
        raise HandlerMissingError(
            f"{manifest.main} has no handler: "
            + (
                "define `handle(request)`, or `app`"
                if manifest.language == "python"
                else "`export default { fetch(request, env, ctx) { … } }`"
            ),
            printed=printed,
        )
    return found.handlers


def _image_name(bundle: Bundle, manifest: Manifest) -> str:
    language = LANGUAGES[manifest.language]
    if manifest.image is None:
        suffix = ".py" if language == "python" else ".js"
        texts = (text for path, text in bundle.files if path.endswith(suffix))
        return choose_image(language, "\n".join(text.decode(errors="replace") for text in texts))
    try:
        definition = definition_of(manifest.image)
    except UnknownImageError as error:
        raise ManifestError(where="image", problem=f"cannot be: {error.message}") from None
    if definition.language != language or definition.variant == "script":
        problem = f"is {manifest.image!r}, which is not for apps in {language}"
        raise ManifestError(where="image", problem=problem)
    return definition.name
