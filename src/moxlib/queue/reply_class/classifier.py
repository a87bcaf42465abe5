"""The decision: which rule is the first that a failure meets. Pure."""

import re
from collections.abc import Iterable
from typing import Self

from moxlib.queue.reply_class.classes import ReplyClass
from moxlib.queue.reply_class.rules import Phrase, Rule, default_rules, words_of

__all__ = ["Classifier"]

_enhanced_code = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})").fullmatch
# A reply's text may begin with its codes, all the more where the server did not announce ENHANCEDSTATUSCODES.
_leading_code = re.compile(r"(?:[245][0-9]{2}[ -])?([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9.])").match


class Classifier:
    """Says what failures mean, by ordered rules; the first that matches counts. Immutable.

    Args:
        rules: in the order in which they are tried.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules: tuple[Rule, ...] = tuple(rules)
        self._by_word: dict[str, list[tuple[int, Phrase]]] = {}
        """Where the rules stand that a text with this word can meet."""
        self._wordless: list[int] = []
        for index, rule in enumerate(self.rules):
            if not rule.phrases:
                self._wordless.append(index)
            for phrase in rule.phrases:
                self._by_word.setdefault(phrase.key, []).append((index, phrase))

    @classmethod
    def default(cls, first: Iterable[Rule] = ()) -> Self:
        """Return one with the rules that ship, behind those given."""
        return cls((*first, *default_rules()))

    def classify(self, code: int, enhanced: str, text: str, *, command: str = "") -> ReplyClass:
        """Return what a failure means; `OTHER` where no rule matches. It never raises, whatever a peer sent.

        Args:
            code: the reply code; 0: the failure was found on this side.
            enhanced: the enhanced status code; "": none, or it stands in the text.
            text: what the peer said, with or without its codes and the command. Its first thousand characters count.
            command: what was answered, such as "RCPT TO".
        """
        rule = self.rule_for(code, enhanced, text, command=command)
        return ReplyClass.OTHER if rule is None else rule.reply_class

    def rule_for(self, code: int, enhanced: str, text: str, *, command: str = "") -> Rule | None:
        """Return the rule that decides, or None; for the arguments see `classify`."""
        digits = f"{code:03}"
        if command:
            text = text.removeprefix(f"{command}: ")  # said by us, as errors and outcomes do
        match = _enhanced_code(enhanced) or _enhanced_code(_leading(text, digits))
        parts = match.groups() if match else ()
        words = words_of(text, code)
        line = f" {' '.join(words)} "
        candidates = [entry for word in {"", *words} if word in self._by_word for entry in self._by_word[word]]
        matching = {index for index, phrase in candidates if phrase.is_in(line)}
        for index in sorted(matching.union(self._wordless)):
            if self.rules[index].allows(digits, parts, command):
                return self.rules[index]
        return None


def _leading(text: str, code: str) -> str:
    match = _leading_code(text)
    return match[1] if match and match[1][0] == code[0] else ""
