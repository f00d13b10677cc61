"""Forms of keys that S3 keeps byte for byte and some servers do not: they store them under another name, or empty."""

from enum import StrEnum


class Oddity(StrEnum):
    """One such form. Its value is how it is called."""

    DOUBLE_SLASH = "//"
    BACKSLASH = "\\"
    FINAL_SLASH = "/ at the end"

    @property
    def example(self) -> str:
        """A key of this form and of no other."""
        return _EXAMPLES[self]

    def is_in(self, key: str) -> bool:
        """Whether `key` has this form."""
        return key.endswith("/") if self is Oddity.FINAL_SLASH else self.value in key


_EXAMPLES = {Oddity.DOUBLE_SLASH: "a//b", Oddity.BACKSLASH: "a\\b", Oddity.FINAL_SLASH: "a/"}
