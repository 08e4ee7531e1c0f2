"""Command lines that name the nearest key where one does not exist, and that can be written down."""

import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from pathlib import Path
from pydoc import locate
from typing import Any, NoReturn, cast, get_args, get_type_hints

from jsonargparse import ArgumentParser, Namespace

from lightning_advinterp.attacks.prediction.dotted_flags import spelt_out
from lightning_advinterp.cli.settings_help import asked_help
from lightning_advinterp.core.errors import reason_within
from lightning_advinterp.core.names import printable
from lightning_advinterp.core.shipped import configuration_names
from lightning_advinterp.core.typed_settings import TypedSettings, shortened
from lightning_advinterp.core.yaml_files import bound_parsers, checked_text

bound_parsers()

_FLAG = re.compile(r"unrecognized arguments: --(?P<key>[\w.]+)")
_OPTION = re.compile(r"Option '(?P<key>[^']+)' is not accepted")
_GROUP = re.compile(r"Group '(?P<group>[^']+)' does not accept option '(?P<key>[^']+)'")
_CLASS = re.compile(r"Problem with given class_path '(?P<path>[^']+)'")
_CLASS_NAME = re.compile(r"Expected a dot import path string: (?P<name>\S+)")
_LINKED = re.compile(r"argument (?P<source>[\w.]+) --> (?P<target>[\w.]+):")
_KEY = re.compile(r'Parser key "(?P<key>[\w.]+)":')
_SUBTYPES = re.compile(r"Subtypes: \[(?P<kinds>.*)\]")
_KIND = re.compile(r"<class '([\w.]+)'>")
_VALUE = re.compile(r"Given value: (?P<value>.*)\Z", re.DOTALL)
_SINGLE_TYPE = re.compile(r"Expected a <class '(?P<kind>[\w.]+)'>\. Got value: (?P<value>.*)\Z", re.DOTALL)
_REQUIRED = re.compile(r"the following arguments are required: (?P<keys>[\w., ]+)\Z")
_SHAPES = {"float": "a number, as 0.1", "int": "a whole number, as 8", "bool": "true or false"}
_NO_CONFIGURATION = re.compile(r'Parser key "config": File does not exist: \'(?P<path>[^\']+)\'')
_EXPECTED = re.compile(r"Subtypes: \[<class '(?P<path>[^']+)'>")


PROGRAM: ContextVar[str | None] = ContextVar("program", default=None)
"""What usage lines call the program; None: the file's name. Lightning starts further processes by ``sys.argv``, which
therefore stays as it is."""


class SuggestingParser(ArgumentParser):
    """A parser that says in one line which key is unknown and which is nearest; flags are never cut short."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        called = {} if PROGRAM.get() is None else {"prog": PROGRAM.get()}
        super().__init__(*args, allow_abbrev=False, **(called | kwargs))
        self._typed: type[TypedSettings] | None = None

    def add_class_arguments(self, theclass: Any, *args: Any, **settings: Any) -> Any:
        """See ``jsonargparse``; typed settings may be more than the class has fields."""
        if isinstance(theclass, type) and issubclass(theclass, TypedSettings):
            self._typed = theclass
        return super().add_class_arguments(theclass, *args, **settings)

    def parse_object(self, cfg_obj: Any, namespace: Any = None, **settings: Any) -> Namespace:
        """See ``jsonargparse``; a setting of a user's own class may stand beside the others."""
        if self._typed is not None:
            cfg_obj = self._typed.with_options(cfg_obj, namespace or {})
        parsed: Namespace = super().parse_object(cfg_obj, namespace, **settings)
        return parsed

    def parse_path(self, path: Any, *args: Any, **kwargs: Any) -> Namespace:
        """See ``jsonargparse``; what is wrong with the file is said in one line."""
        if Path(path).exists():
            checked_text(Path(path))
        parsed: Namespace = super().parse_path(path, *args, **kwargs)
        return parsed

    def parse_args(self, args: Any = None, *rest: Any, **settings: Any) -> Any:
        """See ``jsonargparse``; single settings may follow an attack's name."""
        words = sys.argv[1:] if args is None else args
        if self._typed is not None:  # jsonargparse reads a single setting so
            return super().parse_args(self._typed.as_options(words), *rest, **settings)
        if isinstance(words, list | tuple) and settings.get("namespace") is None:  # else within a class
            try:
                if (text := asked_help(words)) is not None:
                    sys.stdout.write(text)
                    self.exit()
                args = spelt_out(words, super().parse_args)
            except ValueError as error:
                self.error(str(error), error)
        return super().parse_args(args, *rest, **settings)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """See ``argparse``; parsers that only try things out go on as before."""
        if not self.exit_on_error:
            super().error(message, ex)
        suggestion = suggest(message, keys(self)) or reason_within(message) or _value_refused(message)
        if "surrogates not allowed" in message:
            suggestion = (
                "a path or name among the settings is no UTF-8, as config.yaml is; give a link of another name."
            )
        print(f"error: {printable(message if suggestion is None else suggestion)}", file=sys.stderr)
        print("tip: --help all lists the keys", file=sys.stderr)
        self.exit(2)

    def dump(self, namespace: Namespace, *args: Any, **kwargs: Any) -> str:
        """Return a configuration as YAML that the parser takes; see ``jsonargparse``, which cannot write all of it."""
        namespace = written_out(namespace)
        for action in self._actions:
            value = namespace.get(action.dest)
            if isinstance(value, Namespace | list | tuple):
                namespace[action.dest] = _short(value, action.default if isinstance(action.default, dict) else {})
        text: str = super().dump(namespace, *args, **kwargs)
        return text


def _short(value: Any, default: Mapping[str, Any]) -> Any:
    """Return typed settings, or a list of them, without what is left out."""
    if isinstance(value, list | tuple):
        return type(value)(_short(entry, default) for entry in value)
    if not isinstance(value, Namespace):
        return value
    init_args = value.get("init_args")
    if isinstance(init_args, Namespace):  # a class whose subclasses are not asked for stands so, too
        return Namespace(**vars(value) | {"init_args": _short(init_args, default)})  # type: ignore[no-untyped-call]
    settings = shortened(vars(value), default)
    if settings is None:
        return value
    return Namespace(**{name: _without_nulls(entry, name in default) for name, entry in settings.items()})  # type: ignore[no-untyped-call]


def _without_nulls(value: Any, merged: bool) -> Any:
    """Return the settings of a network or a mask within an attack's, as they were said."""
    if isinstance(value, list | tuple):
        return type(value)(_without_nulls(entry, merged) for entry in value)
    if not isinstance(value, Namespace) or merged:
        return value
    entries = {name: _without_nulls(entry, merged) for name, entry in vars(value).items() if entry is not None}
    return Namespace(**entries)  # type: ignore[no-untyped-call]


def written_out(value: Any) -> Any:
    """Return a configuration with dictionaries in the place of dataclasses, as lists have them by default."""
    if isinstance(value, Namespace):
        copy = Namespace()  # type: ignore[no-untyped-call]
        for key, entry in vars(value).items():
            setattr(copy, key, written_out(entry))
        return copy
    if is_dataclass(value) and not isinstance(value, type):
        return {name: written_out(entry) for name, entry in vars(value).items()}
    if isinstance(value, list | tuple):
        return type(value)(map(written_out, value))
    if isinstance(value, dict):
        return {key: written_out(entry) for key, entry in value.items()}
    return value


def _value_refused(message: str) -> str | None:
    r"""Return what to say of a value of the wrong type, a key that is missing or one that another sets; None: neither.

    Example:
        >>> _value_refused('Parser key "lr": Expected a <class \'float\'>. Got value: fast')
        'lr must be a number, as 0.1, got fast; give --lr such a value.'
        >>> _value_refused("argument data.image_size --> model.image_size: int | None is not callable")
        'model.image_size is taken from data.image_size; set that one.'
    """
    if linked := _LINKED.match(message):
        return f"{linked['target']} is taken from {linked['source']}; set that one."
    if required := _REQUIRED.search(message):
        names = required["keys"].split(", ")
        return f"{', '.join(names)} must be given, as --{names[0]} VALUE or in a file that --config names."
    key, kinds, value = _KEY.search(message), _SUBTYPES.search(message), _VALUE.search(message)
    if key is not None and (refused := _SINGLE_TYPE.search(message)):
        name, kind = key["key"], refused["kind"].rpartition(".")[2]
        return f"{name} must be {_SHAPES.get(kind, kind)}, got {refused['value']}; give --{name} such a value."
    if key is None or kinds is None or value is None:
        return None
    names = ["null" if kind == "NoneType" else kind.rpartition(".")[2] for kind in _KIND.findall(kinds["kinds"])]
    if not names:
        return None
    return f"{key['key']} must be {' or '.join(names)}, got {value['value']}."


def keys(parser: ArgumentParser) -> list[str]:
    """Return the keys that a parser knows, dotted."""
    dests = [action.dest for action in parser._actions]
    return [dest for dest in dests if dest not in ("help", "print_config") and not dest.endswith(".help")]


def suggest(message: str, keys_of_line: Iterable[str]) -> str | None:
    """Return what to say in the place of the parser's message about a key or class that does not exist.

    Args:
        message: of the parser.
        keys_of_line: the keys of the whole command line.

    Returns:
        One line; None: the message is about something else.

    Example:
        >>> suggest("unrecognized arguments: --nmae x", ["name", "output"])
        'there is no key nmae; did you mean name?'
    """
    if missing := _NO_CONFIGURATION.search(message):
        return _suggest_configuration(Path(missing["path"]))
    match = _GROUP.search(message) or _OPTION.search(message) or _FLAG.search(message)
    if match is None:
        return _suggest_class(message)
    key, group = match["key"].removeprefix("init_args."), match.groupdict().get("group")
    key = key if group is None else f"{group}.{key}"
    owners = list(_CLASS.finditer(message, 0, match.start()))
    if not owners:
        return _say(f"there is no key {key}", key, keys_of_line)
    path = owners[-1]["path"]
    return _say(f"{path.rpartition('.')[2]} has no key {key}", key, _keys_of_class(path))


def _suggest_configuration(path: Path) -> str:
    """The same for a configuration: a file of the user's, or the name of one that comes with the package."""
    name = str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    what = f"config: there is no file {name}, and no configuration of the package has this name"
    name, names = name.removeprefix("configs/").removesuffix(".yaml"), configuration_names()
    if not difflib.get_close_matches(name, names, n=1, cutoff=0.7):
        names = [shipped for shipped in names if "/" not in shipped]  # those of a table or an ablation are many
    return _say(what, name, names)


def _suggest_class(message: str) -> str | None:
    """The same for the name of a class."""
    name, base = _CLASS_NAME.search(message), _EXPECTED.search(message)
    if name is None or base is None:
        return None
    key, path = _KEY.search(message), name["name"].strip("'\"")
    if key is not None and key["key"] == "data" and Path(path).exists():  # as other commands take it
        return (
            f"data must be a class, got {path}, which is there as a path; for images that lie there say "
            f"--data ImageFolderDataModule --data.init_args.root {path}."
        )
    classes = {
        subclass.__name__
        for subclass in _subclasses(cast(type, locate(base["path"])))
        if not subclass.__name__.startswith("_")
    }
    return _say(f"there is no class {name['name']}", name["name"], sorted(classes))


def _subclasses(kind: type[Any]) -> list[type[Any]]:
    kinds = [kind]
    for subclass in kind.__subclasses__():
        kinds += _subclasses(subclass)
    return kinds


def _keys_of_class(path: str) -> list[str]:
    """The dotted keys that a class takes, those of nested settings included."""
    parser = ArgumentParser(exit_on_error=False)
    kind = cast(Any, locate(path))
    parser.add_class_arguments(kind, fail_untyped=False)
    names = keys(parser)
    for name, hint in get_type_hints(kind.__init__).items():
        for part in get_args(hint):  # settings that may also be said in other ways
            if is_dataclass(part):
                names += [f"{name}.{field.name}" for field in fields(part)]
    return names


def _say(what: str, key: str, candidates: Iterable[str]) -> str:
    """Complete the sentence by the nearest of the known keys, or by all of them where they are few."""
    candidates = list(dict.fromkeys(candidates))
    near = difflib.get_close_matches(key, candidates, n=2, cutoff=0.7)
    if not near:  # the right name in the wrong place, or under a wrong group
        last = key.rpartition(".")[2]
        ends = {name.rpartition(".")[2]: name for name in reversed(candidates)}
        near = [ends[end] for end in difflib.get_close_matches(last, ends, n=2, cutoff=0.7)]
    if near:
        return f"{what}; did you mean {' or '.join(near)}?"
    top = list(dict.fromkeys(name.split(".")[0] for name in candidates))
    return f"{what}; there are {', '.join(top)}."
