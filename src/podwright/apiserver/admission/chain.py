"""The admission chain: every write passes all mutating steps, then all validating ones, in upstream's order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from podwright.api.objects import Object, deepcopy
from podwright.apiserver.requests import AdmissionPlugin, AdmissionRequest

Step = Callable[[AdmissionRequest], Awaitable[None]]
_Key = tuple[str, str, str, str]


@dataclass(slots=True)
class Reinvocation:
    """The second round of the mutating plugins. ``wanted``: an out-of-tree step changed the object; ``again``: this is
    the second round; ``before``: the steps that ran and ask to run again (by an identity that begins with their
    plugin's name), ``required`` those of them that must, because something after them changed the object; ``left``:
    what each plugin with such steps left behind."""

    wanted: bool = False
    again: bool = False
    before: list[tuple[str, ...]] = field(default_factory=list)
    required: set[tuple[str, ...]] = field(default_factory=set)
    left: dict[str, Object] = field(default_factory=dict)

    @staticmethod
    def of(request: AdmissionRequest) -> Reinvocation:
        if request.reinvocation is None:
            request.reinvocation = Reinvocation()
        found: Reinvocation = request.reinvocation
        return found

    def begins(self, plugin: str, obj: Object | None) -> None:
        """What other plugins changed since is a reason to run again too."""
        if self.again and plugin in self.left and self.left[plugin] != obj:
            self.required.update(step for step in self.before if step[0] == plugin)

    def ends(self, plugin: str, obj: Object | None) -> None:
        if obj is not None and any(step[0] == plugin for step in self.before):
            self.left[plugin] = deepcopy(obj)

    def skips(self, step: tuple[str, ...]) -> bool:
        return self.again and step not in self.required

    def ran(self, step: tuple[str, ...], *, changed: bool, if_needed: bool) -> None:
        if changed:
            self.required.update(self.before)
            self.wanted = True
        if if_needed:
            self.before.append(step)


class Chain:
    """Which plugins look at a kind of request is worked out once per (operation, resource, subresource): a plugin's
    ``handles`` may depend on nothing else."""

    def __init__(self, plugins: Sequence[AdmissionPlugin]) -> None:
        self.plugins = tuple(plugins)
        self._admitting: dict[_Key, tuple[Step, ...]] = {}
        self._validating: dict[_Key, tuple[Step, ...]] = {}

    async def admit(self, request: AdmissionRequest) -> None:
        """Runs the mutating steps over ``request.object``. Raises ApiError; what was reserved is then given back."""
        resource = request.resource
        key = (request.operation, resource.group, resource.plural, request.subresource)
        steps = self._admitting.get(key)
        if steps is None:
            steps = self._admitting[key] = self._steps(request, "admit")
        try:
            for step in steps:
                await step(request)
            round_ = request.reinvocation
            if round_ is not None and round_.wanted:
                # What webhooks and policies changed is seen by every plugin once more, and only once.
                round_.again = True
                for step in steps:
                    await step(request)
        except BaseException:
            undo(request)
            raise

    async def validate(self, request: AdmissionRequest) -> None:
        """Runs the validating steps over the final object. Raises ApiError; what was reserved is then given back.
        The caller calls :func:`undo` if the write fails later."""
        resource = request.resource
        key = (request.operation, resource.group, resource.plural, request.subresource)
        steps = self._validating.get(key)
        if steps is None:
            steps = self._validating[key] = self._steps(request, "validate")
        try:
            for step in steps:
                await step(request)
        except BaseException:
            undo(request)
            raise

    async def close(self) -> None:
        """Closes what plugins hold open (connections to webhooks)."""
        for plugin in self.plugins:
            close = getattr(plugin, "close", None)
            if close is not None:
                await close()

    def _steps(self, request: AdmissionRequest, method: str) -> tuple[Step, ...]:
        return tuple(
            getattr(plugin, method)
            for plugin in self.plugins
            if plugin.handles(request) and not _is_empty(plugin, method)
        )


def undo(request: AdmissionRequest) -> None:
    """Gives back what plugins reserved for a write that failed. Calling it twice does no harm."""
    while request.undo:
        request.undo.pop()()


class Plugin:
    """A plugin that changes and checks nothing; the others override what they do."""

    name = ""

    def handles(self, request: AdmissionRequest) -> bool:
        raise NotImplementedError

    async def admit(self, request: AdmissionRequest) -> None:
        """Nothing to change."""

    async def validate(self, request: AdmissionRequest) -> None:
        """Nothing to check."""


class PodPlugin(Plugin):
    """A plugin for Pods alone."""

    operations: tuple[str, ...] = ("CREATE", "UPDATE")
    subresources: tuple[str, ...] = ("",)

    def handles(self, request: AdmissionRequest) -> bool:
        return (
            request.resource.plural == "pods"
            and not request.resource.group
            and request.subresource in self.subresources
            and request.operation in self.operations
        )


def _is_empty(plugin: AdmissionPlugin, method: str) -> bool:
    return getattr(type(plugin), method, None) is getattr(Plugin, method)
