"""Replies of any kind have a class, and none of what may differ between equal ones matters."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from moxlib.errors import InputError
from moxlib.queue.reply_class import Classifier, ReplyClass, Rule, default_rules, read_rules
from moxlib.queue.reply_class.rules import MAX_GAP, Phrase, words_of

RULES = default_rules()
CLASSIFIER = Classifier(RULES)
SINGLE = [Classifier([rule]) for rule in RULES]

words = sorted({word for rule in RULES for text in (*rule.text, *rule.examples) for word in text.split()})
texts = st.text(max_size=1500) | st.lists(st.sampled_from(words), max_size=60).map(" ".join)
codes = st.integers(0, 999) | st.integers()
enhanced = st.sampled_from(["", "5.1.1", "4.7.0", "5.7.30", "2.0.0", "5.999.999"]) | st.text(max_size=12)
commands = st.sampled_from(["", "RCPT TO", "MAIL FROM", "greeting", "end of data"]) | st.text(max_size=12)


@given(codes, enhanced, texts, commands)
def test_every_reply_has_a_class(code: int, enhanced: str, text: str, command: str) -> None:
    rule = CLASSIFIER.rule_for(code, enhanced, text, command=command)
    assert CLASSIFIER.classify(code, enhanced, text, command=command) == (
        rule.reply_class if rule else ReplyClass.OTHER
    )


@given(codes, enhanced, texts, commands)
def test_the_index_finds_what_trying_every_rule_does(code: int, enhanced: str, text: str, command: str) -> None:
    """The rules by word are the rules in order, one by one."""
    found = (single.rule_for(code, enhanced, text, command=command) for single in SINGLE)
    expected = next((rule for rule in found if rule is not None), None)
    assert CLASSIFIER.rule_for(code, enhanced, text, command=command) is expected


@given(st.sampled_from([(rule, text) for rule in RULES for text in rule.examples if rule.text]), st.randoms())
def test_lines_case_and_space_do_not_matter(case: tuple[Rule, str], random: Random) -> None:
    rule, example = case
    code, text = example[:3], example[4:]
    parts = [part.upper() if random.random() < 0.5 else part for part in text.split(" ")]
    broken = "".join(part + random.choice([" ", "  ", " / ", f" / {code}-"]) for part in parts)
    assert CLASSIFIER.rule_for(int(code), "", broken, command=rule.commands[0] if rule.commands else "") == rule


@given(st.text(alphabet="ab* ", max_size=12), st.text(alphabet="ab ", max_size=100))
def test_phrases_are_found_where_a_plain_search_finds_them(phrase: str, text: str) -> None:
    """Model: each part at its first place behind the one before, from every place of the first."""
    try:
        made = Phrase(phrase)
    except InputError:
        return
    line = f" {' '.join(words_of(text))} "

    def follows(parts: tuple[str, ...], end: int) -> bool:
        if not parts:
            return True
        places = [at for at in range(end, end + MAX_GAP + 1) if line.startswith(parts[0], at)]
        return bool(places) and follows(parts[1:], places[0] + len(parts[0]) - 1)

    first, *others = made.parts
    places = [at for at in range(len(line)) if line.startswith(first, at)]
    assert made.is_in(line) == any(follows(tuple(others), at + len(first) - 1) for at in places)


@given(
    st.text(max_size=300)
    | st.lists(st.sampled_from(["[[rule]]\n", "name='x'\n", "class='hard'\n", "text=['a']\n"])).map("".join)
)
def test_any_text_is_read_as_rules_or_refused(text: str) -> None:
    try:
        rules = read_rules(text)
    except InputError:
        return
    assert all(isinstance(rule, Rule) for rule in rules)
