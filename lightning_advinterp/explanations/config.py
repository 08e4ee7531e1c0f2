"""One explanation as YAML, flags and Python say it."""

from collections.abc import Callable
from typing import Any

from lightning_advinterp.core.signatures import Setting, documentation, settings_of
from lightning_advinterp.core.typed_settings import TypedSettings, with_settings
from lightning_advinterp.explanations.explanation import Method
from lightning_advinterp.explanations.pattern_attribution import PatternAttribution
from lightning_advinterp.explanations.registry import EXPLANATIONS, kind_of


@with_settings(settings_of(kind) for kind in EXPLANATIONS.values())
class ExplanationConfig(TypedSettings):
    """One explanation: its type, and what is said of that type's settings.

    What is left out is the type's own default, and what the type has no use for is refused; see
    :mod:`lightning_advinterp.core.typed_settings`. The settings are the arguments of the classes in
    :data:`~lightning_advinterp.explanations.registry.EXPLANATIONS`, which also say what they mean;
    ``--fragility.methods.help TYPE`` prints them.

    Attributes:
        type: a name there, or the class path of an explanation of your own, such as ``mine.Explanation``.
        name: what tables and log keys call it; the type when left out.
        patterns: the file of pattern_attribution, written by ``learn_patterns(…).save(FILE)``.
        options: further settings of an explanation of your own, which may as well stand beside the others.
    """

    type: str = "gradient"
    name: str | None = None
    patterns: str | None = None
    options: dict[str, Any] | None = None

    @classmethod
    def takes(cls, kind: str) -> dict[str, Setting]:
        """Return the settings of a type, by name."""
        texts = documentation(cls)
        shared = {"name": Setting("name", str | None, None, texts["name"])}
        if "." in kind:
            shared["options"] = Setting("options", dict[str, Any] | None, None, texts["options"])
        return settings_of(kind_of(kind)) | shared

    @classmethod
    def types(cls) -> dict[str, Callable[..., Any]]:
        """Return the registered classes."""
        return dict(EXPLANATIONS)

    def check(self) -> None:
        """Refuse values that the type does not take, by building the explanation; a file of patterns may come later."""
        if kind_of(self.type) is not PatternAttribution:
            self.create()
        elif self.patterns is None:
            raise ValueError("pattern_attribution needs patterns: a file written by learn_patterns(…).save(FILE).")

    def create(self) -> Method:
        """Build the explanation.

        Raises:
            ValueError: naming the argument, the value and what was expected.
            FileNotFoundError: if the file of patterns does not exist.
        """
        settings = self.given() | (self.options or {})
        settings = {name: value for name, value in settings.items() if name not in ("type", "name", "options")}
        try:
            return kind_of(self.type)(name=self.label_name, **settings)
        except TypeError as error:  # an argument that it needs is missing
            raise ValueError(f"explanation {self.type}: {error}") from None
