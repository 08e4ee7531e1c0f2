"""Settings whose keys depend on their type: the signature of what the type builds is the schema.

A configuration is a type and what is said of that type's settings, and holds nothing else: ``vars(config)`` has no
entry for what is left out, so that printed and stored configurations are as short as what the user wrote. It is a
dataclass all the same, with a field for every setting of every registered type (None where it is left out): parsers
merge it key by key, ``dataclasses.replace`` and equality work. The fields are gathered from the signatures; a new type
is one new callable in its registry.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from inspect import Parameter, Signature
from typing import Any, Self, TypeVar

from lightning_advinterp.core.kinds import admits, built, plain_kind, shown, union_of
from lightning_advinterp.core.signatures import Setting

Kind = TypeVar("Kind", bound="TypedSettings")


_FLAG = re.compile(r"--(?P<name>\w+)")


@dataclass(frozen=True, init=False, repr=False)
class TypedSettings:
    """Settings of one entry of a registry; what is left out is the entry's own default.

    A class of settings declares ``name``, what tables and log keys call an entry, and may declare ``options``: settings
    of an entry of a user's own that are no fields. They may stand beside the others all the same.

    Attributes:
        type: the entry's name, or the class path of one of a user's own.
    """

    type: str

    def __init__(self, *values: Any, **settings: Any) -> None:
        names = [field.name for field in fields(self)]
        settings = dict(zip(names, values, strict=False)) | settings
        self.hold({name: value for name, value in settings.items() if value is not None})

    def hold(self, settings: Mapping[str, Any]) -> None:
        """Take settings, and refuse those that the type does not take, or not with this value.

        Raises:
            ValueError: naming the setting, the value and what was expected.
        """
        defaults = {field.name: field.default for field in fields(self)}
        kind = str(settings.get("type", self.type))
        takes = self.takes(kind)
        entries = {name: value for name, value in settings.items() if name != "type" and value != defaults.get(name)}
        options = entries.pop("options", {}) if "options" in takes else {}
        for name in [name for name in entries if name not in defaults and name in takes]:  # of a user's own class
            options = options | {name: entries.pop(name)}
        entries |= {name: value for name, value in options.items() if name in defaults}
        rest = {name: value for name, value in options.items() if name not in defaults}
        entries |= {"options": rest} if rest else {}
        places = {name: place for place, name in enumerate(defaults)}
        entries = dict(sorted(entries.items(), key=lambda entry: places.get(entry[0], len(places))))
        self.__dict__.update({"type": kind} | entries)
        allowed = self.allowed()
        self.__dict__.update({name: self._checked(name, value, allowed) for name, value in entries.items()})
        for name, value in rest.items():
            self._checked(name, value, allowed)
        self.check()

    def _checked(self, name: str, value: Any, takes: Mapping[str, Setting]) -> Any:
        if name not in takes:
            near = get_close_matches(name, takes, 1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise ValueError(f"{name} is no setting of {self.title}, which takes {', '.join(sorted(takes))}{hint}")
        value = built(takes[name].kind, value)
        if not admits(takes[name].kind, value):
            raise ValueError(f"{name} of {self.title} must be {shown(takes[name].kind)}, got {value!r}.")
        return value

    def __repr__(self) -> str:
        """Name the settings that are said."""
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    @classmethod
    def takes(cls, kind: str) -> dict[str, Setting]:
        """Return the settings that a type takes, by name.

        Raises:
            ValueError: if there is no such type; the nearest is named.
        """
        raise ValueError(f"{cls.__name__} has no types, got {kind!r}.")

    @classmethod
    def types(cls) -> dict[str, Callable[..., Any]]:
        """Return the registered types by name, each with the callable whose docstring says what it is."""
        return {}

    @classmethod
    def with_options(cls, settings: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings with those of a user's own class that are no fields among the options, as parsers want it.

        Args:
            settings: as they were said.
            earlier: those that they are laid over.
        """
        names = {field.name for field in fields(cls)}
        if "." not in str(settings.get("type", earlier.get("type"))):
            return dict(settings)
        more = {name: value for name, value in settings.items() if name not in names}
        rest = {name: value for name, value in settings.items() if name not in more}
        return rest | ({"options": (settings.get("options") or {}) | more} if more else {})

    @classmethod
    def as_options(cls, line: Sequence[str]) -> list[str]:
        """Return a command line of settings with those that are no fields among the options."""
        names = {field.name for field in fields(cls)}
        matches = [(flag, _FLAG.match(flag)) for flag in line]
        return [f"--options.{flag[2:]}" if match and match["name"] not in names else flag for flag, match in matches]

    def allowed(self) -> dict[str, Setting]:
        """Return the settings that may stand beside those that are said: the type's."""
        return self.takes(self.type)

    def check(self) -> None:
        """Refuse values that the type does not take."""

    @property
    def title(self) -> str:
        """What messages call the entry."""
        return self.type

    @property
    def label_name(self) -> str:
        """What tables and log keys call the entry."""
        return self.get("name") or self.type.rpartition(".")[2]

    def given(self) -> dict[str, Any]:
        """Return what is said, the type included."""
        return dict(vars(self))

    def changed(self, **settings: Any) -> Self:
        """Return the same settings with others in the place of these; None leaves one out."""
        return type(self)(**self.given() | settings)

    def get(self, name: str) -> Any:
        """Return a setting; what every type has by default, or None, where it is left out."""
        return vars(self).get(name, {field.name: field.default for field in fields(self)}.get(name))


def with_settings(schema: Iterable[Mapping[str, Setting]]) -> Callable[[type[Kind]], type[Kind]]:
    """Give a class of settings a field for every setting of the registered types.

    Fields that the class declares itself stay as they are; the others are None where they are left out, and of all the
    kinds that the types declare.

    Args:
        schema: the settings of every type.
    """
    kinds: dict[str, list[Any]] = {}
    for settings in schema:
        for setting in settings.values():
            kinds.setdefault(setting.name, []).append(plain_kind(setting.kind))

    def decorate(kind: type[Kind]) -> type[Kind]:
        declared = {field.name for field in fields(kind)} | set(kind.__annotations__)
        for name in kinds.keys() - declared:
            setattr(kind, name, None)
        derived = {name: union_of([*kinds[name], None]) for name in kinds if name not in declared}
        kind.__annotations__ = kind.__annotations__ | derived
        complete = dataclass(frozen=True, init=False, repr=False)(kind)
        complete.__init__ = _constructor(complete)  # type: ignore[method-assign]
        return complete

    return decorate


def shortened(settings: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the settings of a parser, which knows all fields, without those that are left out; None for any other.

    Args:
        settings: a value for every field.
        default: the settings over which a parser would lay these when it reads them again; what it says stays said.
    """
    for kind in TypedSettings.__subclasses__():
        fields_of_kind = {field.name: field.default for field in fields(kind)}
        if fields_of_kind.keys() == settings.keys():
            return {
                name: value
                for name, value in settings.items()
                if name == "type" or value != fields_of_kind[name] or default.get(name, value) != value
            }
    return None


def _constructor(kind: type[TypedSettings]) -> Callable[..., None]:
    """Return a constructor whose signature says all settings, for parsers."""

    def __init__(self: TypedSettings, *values: Any, **settings: Any) -> None:
        TypedSettings.__init__(self, *values, **settings)

    parameters = [Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)]
    for field in fields(kind):
        place = Parameter.POSITIONAL_OR_KEYWORD
        parameters.append(Parameter(field.name, place, default=field.default, annotation=field.type))
    __init__.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    __init__.__annotations__ = {field.name: field.type for field in fields(kind)}
    __init__.__qualname__, __init__.__module__ = f"{kind.__qualname__}.__init__", kind.__module__
    return __init__
