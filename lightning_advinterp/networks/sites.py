"""Hooks on named layers: what passes a layer can be changed, then read, at one place per module.

A :class:`SiteTable` belongs to one root module (a backbone). It owns at most one :class:`Site` per layer, and a
site applies its edits in the order in which they came before its readers see the result, whoever registered
first. All of them are plain objects, so a network that carries them can be deep-copied and pickled, and the
copy's sites write into the copy's records. They keep no state between forwards except how often a layer was
called.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, fx, nn
from torch.utils.hooks import RemovableHandle

from lightning_advinterp.networks.names import suggestion


class LayerRef(NamedTuple):
    """A layer as named by the user: a module's path, which of its calls in a forward pass, and which part is meant.

    Attributes:
        name: as written, ``layer1.0.relu#0``.
        path: ``layer1.0.relu``.
        call: 0 for the first call in a forward pass; None where the name says nothing about it.
        part: what follows ``:``, see :mod:`~lightning_advinterp.networks.parts`; None for all.
    """

    name: str
    path: str
    call: int | None
    part: str | None = None


def parse_layer(name: str) -> LayerRef:
    """Split ``path#call:part``.

    Raises:
        ValueError: if what follows ``#`` is not a number.
    """
    address, _, part = name.partition(":")
    path, mark, call = address.partition("#")
    if mark and not call.isdecimal():
        raise ValueError(
            f"layer {name!r}: after '#' comes the number of the call in a forward pass, counted from 0 "
            f"(like {path}#0), got {call!r}."
        )
    return LayerRef(name, path, int(call) if mark else None, part or None)


def layer_names(backbone: nn.Module) -> list[str]:
    """Return the paths of all modules inside ``backbone``, in the order of ``named_modules()``."""
    return [name for name, _ in backbone.named_modules(remove_duplicate=False) if name]


def check_layers(backbone: nn.Module, layers: Iterable[str]) -> None:
    """Refuse layers that the backbone does not have.

    Args:
        backbone: the module whose paths are meant (``network.backbone``, not the network around it).
        layers: paths, each optionally followed by ``#call`` and ``:part``; parts are not looked at here.

    Raises:
        ValueError: naming the first unknown layer and the nearest ones that exist.
    """
    available = layer_names(backbone)
    present = set(available)
    for layer in layers:
        path = parse_layer(layer).path
        if path not in present:
            raise ValueError(
                f"layer must be a module path of {type(backbone).__name__}, got {layer!r}."
                f"{suggestion(path, available) or f' Its outermost layers are {_outermost(backbone)}.'}"
            )


def _outermost(backbone: nn.Module) -> str:
    return ", ".join(name for name, _ in backbone.named_children()) or "none"


@dataclass
class Record:
    """Where readers write: nowhere while ``values`` is None, else each wanted layer under its name."""

    values: dict[str, Tensor] | None = None
    wanted: frozenset[str] = frozenset()


@dataclass
class Reader:
    """Writes what passes a layer into a record: the module's ``output``, or its first ``input``, or ``take`` of it."""

    layer: str
    call: int | None
    record: Record
    side: str = "output"
    take: Callable[[Tensor], Tensor] | None = None


@dataclass
class Edit:
    """Replaces what a module returns, or its first input, in the given call or in every one."""

    layer: str
    call: int | None
    change: Callable[[Tensor], Tensor]
    side: str = "output"


@dataclass
class Site:
    """The hooks of one module: edits first, then readers."""

    edits: list[Edit] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    calls: int = 0
    handles: list[RemovableHandle] = field(default_factory=list)

    def before(self, module: nn.Module, inputs: tuple[Any, ...]) -> Any:
        """Edit what a call of the module reads."""
        edits = self._edits_now("input", self.calls)
        if not edits or any(isinstance(value, fx.Proxy) for value in inputs[:1]):
            return None
        first = _first(inputs, edits[0].layer)
        for edit in edits:
            first = edit.change(_as_tensor(first, edit.layer))
        return (first, *inputs[1:])

    def _edits_now(self, side: str, call: int) -> list[Edit]:
        return [edit for edit in self.edits if edit.side == side and edit.call in (None, call)]

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Edit and read one call's output.

        A read output is passed on as a copy: what follows it may work in place (``out += identity`` of
        ResNet, the functional ReLU of Inception), and a layer is read as it returns.
        """
        if isinstance(output, fx.Proxy):  # a symbolic trace, not a forward pass
            return output
        call = self.calls
        self.calls = call + 1
        for edit in self._edits_now("output", call):
            output = edit.change(_as_tensor(output, edit.layer))
        copied = False
        for reader in self.readers:
            values = reader.record.values
            if values is None or reader.layer not in reader.record.wanted:
                continue
            if reader.call is None or reader.call == call:
                value = _first(inputs, reader.layer) if reader.side == "input" else output
                tensor = _as_tensor(value, reader.layer)
                values[reader.layer] = tensor if reader.take is None else reader.take(tensor)
                copied = copied or reader.side == "output"
        return output.clone() if copied else output


def _first(inputs: tuple[Any, ...], layer: str) -> Any:
    """Return a module's first input, which hooks see where it has no name in the call."""
    if not inputs:
        raise ValueError(
            f"layer {layer!r}: its module is called with named arguments alone, whose values cannot be taken here; "
            "name the module before it."
        )
    return inputs[0]


def _as_tensor(value: Any, layer: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise ValueError(
            f"layer {layer!r} must return one tensor to be read or changed, it returns "
            f"{type(value).__name__}; name a layer inside or after it."
        )
    return value


@dataclass
class SiteTable:
    """The sites of one root module; its forward pre-hook starts the call counts anew."""

    sites: dict[str, Site] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    handle: RemovableHandle | None = None

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Begin a forward pass of the root: no layer was called yet, nothing was read."""
        for site in self.sites.values():
            site.calls = 0
        for record in self.records:
            if record.values is not None:
                record.values.clear()

    def site(self, root: nn.Module, path: str) -> Site:
        """Return the site of the layer at ``path``, made where there is none."""
        if path not in self.sites:
            site = Site()
            site.handles = [root.get_submodule(path).register_forward_hook(site)]
            self.sites[path] = site
        return self.sites[path]

    def add(self, root: nn.Module, path: str, edit: Edit) -> None:
        """Let an edit take part in the passes of the layer at ``path``."""
        site = self.site(root, path)
        site.edits.append(edit)
        if edit.side == "input" and len(site.handles) == 1:  # few sites need to see what their module reads
            site.handles.append(root.get_submodule(path).register_forward_pre_hook(site.before))

    def remove(self, edits: Sequence[Edit], readers: Sequence[Reader], record: Record) -> None:
        """Take edits, readers and a record away, and with the last of a site its hook."""
        gone = {id(part) for part in (*edits, *readers, record)}
        self.records = [remaining for remaining in self.records if id(remaining) not in gone]
        for path, site in list(self.sites.items()):
            site.edits = [edit for edit in site.edits if id(edit) not in gone]
            site.readers = [reader for reader in site.readers if id(reader) not in gone]
            if not site.edits and not site.readers:
                for handle in site.handles:
                    handle.remove()
                del self.sites[path]
        if not self.sites and not self.records and self.handle is not None:
            self.handle.remove()
            self.handle = None


def site_table_of(root: nn.Module) -> SiteTable:
    """Return the root's site_table, pinned to it where it has none."""
    for hook in root._forward_pre_hooks.values():
        if isinstance(hook, SiteTable):
            return hook
    site_table = SiteTable()
    site_table.handle = root.register_forward_pre_hook(site_table)
    return site_table


def select(record: Record, layers: Sequence[str]) -> dict[str, Tensor]:
    """Return the record's values for ``layers``, in their order.

    Raises:
        ValueError: if a layer was not reached in the forward pass.
    """
    values = record.values or {}
    for layer in layers:
        if layer not in values:
            raise ValueError(
                f"layer {layer!r} was not reached in the forward pass: the network does not call it in this "
                "mode, or less often than '#' says, or was compiled before the layer was first asked for."
            )
    return {layer: values[layer] for layer in layers}
