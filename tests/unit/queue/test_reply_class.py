"""What failures mean: the table of rules against its own examples, against the registries, against other replies."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from moxlib.errors import InputError
from moxlib.queue.reply_class import Classifier, ReplyClass, Rule, default_rules, read_rules
from moxlib.queue.reply_class.rules import MAX_GAP, MAX_TEXT, Phrase, words_of
from moxlib.smtpclient import (
    Command,
    CommandTimeout,
    ConnectionLost,
    ExtensionMissing,
    LocalAddressUnusable,
    MessageTooLarge,
    ProtocolError,
    Reply,
    ReplyError,
    ResponseInjected,
    SMTPError,
    TLSFailed,
)

RULES = default_rules()
CLASSIFIER = Classifier(RULES)
EXAMPLES = [(rule, example) for rule in RULES for example in rule.examples]

_reply = re.compile(r"([0-9]{3})[ -](?:([245]\.[0-9]{1,3}\.[0-9]{1,3}) )?(.*)", re.DOTALL).fullmatch


def split(reply: str) -> tuple[int, str, str]:
    match = _reply(reply)
    assert match, reply
    return int(match[1]), match[2] or "", match[3]


def class_of(reply: str, command: str = "") -> ReplyClass:
    return CLASSIFIER.classify(*split(reply), command=command)


# The table


@pytest.mark.parametrize(("rule", "example"), EXAMPLES, ids=[f"{rule.name}: {text[:30]}" for rule, text in EXAMPLES])
def test_each_example_is_caught_by_its_own_rule(rule: Rule, example: str) -> None:
    for command in rule.commands or ("",):
        assert CLASSIFIER.rule_for(*split(example), command=command) == rule


def test_each_rule_has_an_example_and_a_name_of_its_own() -> None:
    assert [rule.name for rule in RULES if not rule.examples] == []
    assert [name for name, count in Counter(rule.name for rule in RULES).items() if count > 1] == []


def test_each_class_but_other_has_a_rule() -> None:
    assert {rule.reply_class for rule in RULES} == set(ReplyClass) - {ReplyClass.OTHER}


def phrases() -> Iterator[tuple[Rule, str, str]]:
    for rule in RULES:
        for phrase in rule.text:
            yield rule, phrase, phrase.replace(" * ", " so and so ").replace("* ", "ing a ").replace("*", "ing")


@pytest.mark.parametrize(("rule", "phrase", "text"), list(phrases()))
def test_no_phrase_is_hidden_by_another(rule: Rule, phrase: str, text: str) -> None:
    """Neither by a rule before it, nor by a phrase of the same rule."""
    codes = [int(code.replace("x", "0")) for code in rule.codes] or [550, 451]
    for code in codes:
        enhanced = rule.enhanced[0].replace("x", str(code)[0]) if rule.enhanced else ""
        command = rule.commands[0] if rule.commands else ""
        if CLASSIFIER.rule_for(code, enhanced, text, command=command) == rule:
            break
    else:
        pytest.fail(f"{phrase!r} of {rule.name!r} is never reached")
    words = f" {' '.join(words_of(phrase.replace(' * ', ' so and so ').replace('*', '')))} "
    assert [other.text for other in rule.phrases if other.text != phrase and other.is_in(words)] == []


@pytest.mark.parametrize("code", ["x.1.1", "x.2.2", "x.3.4", "x.4.1", "x.5.1", "x.6.1", "x.7.1", "x.7.26"])
def test_temporary_or_permanent_is_no_part_of_the_class(code: str) -> None:
    temporary = CLASSIFIER.classify(450, code.replace("x", "4"), "No")
    permanent = CLASSIFIER.classify(550, code.replace("x", "5"), "No")
    assert temporary == permanent != ReplyClass.OTHER


def test_the_documentation_lists_the_classes() -> None:
    page = (Path(__file__).parents[3] / "docs/explanation/reply-classes.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z]+)` \|", page, re.MULTILINE) == list(ReplyClass)


# Registries: where the text says nothing


@pytest.mark.parametrize(
    ("enhanced", "expected"),
    [
        ("5.1.1", "hard"),  # RFC 3463 3.2: bad destination mailbox address
        ("5.1.2", "hard"),
        ("5.1.3", "hard"),
        ("5.1.4", "hard"),
        ("5.1.6", "disabled"),  # moved, no forwarding address
        ("5.1.7", "sender"),
        ("4.1.8", "sender"),
        ("5.1.10", "hard"),  # RFC 7505 4.1
        ("5.2.1", "disabled"),  # RFC 3463 3.3
        ("5.2.2", "full"),
        ("5.2.3", "size"),
        ("4.2.4", "capacity"),
        ("4.3.1", "capacity"),  # RFC 3463 3.4
        ("4.3.2", "capacity"),
        ("5.3.3", "protocol"),
        ("5.3.4", "size"),
        ("5.3.5", "capacity"),
        ("4.4.1", "network"),  # RFC 3463 3.5
        ("4.4.2", "network"),
        ("4.4.3", "network"),
        ("4.4.4", "network"),
        ("5.4.4", "hard"),
        ("4.4.5", "capacity"),
        ("5.4.6", "network"),
        ("5.4.7", "network"),
        ("5.5.1", "protocol"),  # RFC 3463 3.6
        ("5.5.2", "protocol"),
        ("4.5.3", "rate"),
        ("5.5.6", "protocol"),  # RFC 4954 6
        ("5.6.1", "content"),  # RFC 3463 3.7
        ("5.6.3", "content"),
        ("5.6.7", "protocol"),  # RFC 6531
        ("5.6.9", "protocol"),
        ("5.7.1", "policy"),  # RFC 3463 3.8
        ("5.7.2", "policy"),
        ("5.7.4", "tls"),
        ("5.7.7", "authentication"),
        ("5.7.8", "relay"),  # RFC 4954 6
        ("5.7.9", "relay"),
        ("5.7.10", "tls"),
        ("5.7.11", "tls"),
        ("4.7.12", "relay"),
        ("5.7.13", "relay"),
        ("5.7.15", "policy"),  # RFC 6710
        ("5.7.16", "size"),
        ("5.7.17", "disabled"),  # RFC 7293
        ("5.7.18", "disabled"),
        ("5.7.20", "authentication"),  # RFC 7372
        ("5.7.21", "authentication"),
        ("5.7.22", "authentication"),
        ("5.7.23", "authentication"),
        ("4.7.24", "authentication"),
        ("5.7.25", "authentication"),
        ("5.7.26", "authentication"),
        ("5.7.27", "sender"),  # RFC 7505 4.2
        ("4.7.28", "rate"),
        ("5.7.29", "authentication"),  # RFC 8617
        ("5.7.30", "tls"),  # RFC 8689 8.1
    ],
)
def test_enhanced_codes(enhanced: str, expected: str) -> None:
    assert CLASSIFIER.classify(int(enhanced[0]) * 100 + 50, enhanced, "No") == expected
    assert CLASSIFIER.classify(int(enhanced[0]) * 100 + 54, "", f"{enhanced} No") == expected


@pytest.mark.parametrize(
    ("code", "command", "expected"),
    [
        (550, "RCPT TO", "hard"),
        (551, "RCPT TO", "hard"),
        (553, "RCPT TO", "hard"),
        (553, "MAIL FROM", "sender"),
        (550, "MAIL FROM", "policy"),
        (550, "end of data", "policy"),
        (550, "", "other"),
        (552, "MAIL FROM", "size"),
        (552, "RCPT TO", "full"),
        (554, "greeting", "reputation"),
        (554, "end of data", "other"),
        (521, "greeting", "hard"),
        (556, "RCPT TO", "hard"),
        (421, "greeting", "capacity"),
        (450, "RCPT TO", "other"),
        (451, "end of data", "capacity"),
        (452, "RCPT TO", "capacity"),
        (454, "STARTTLS", "tls"),
        (454, "AUTH", "other"),
        (535, "AUTH", "relay"),
        (500, "EHLO", "protocol"),
        (555, "MAIL FROM", "protocol"),
        (250, "", "other"),
        (0, "", "local"),
    ],
)
def test_reply_codes(code: int, command: str, expected: str) -> None:
    assert CLASSIFIER.classify(code, "", "", command=command) == expected


# Replies that are in no example


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("550 5.1.1 <x@y.example>... User unknown", "hard"),
        ("550 5.1.1 sorry, no mailbox here by that name", "hard"),
        ("550 #5.1.0 Address rejected. Recipient address unknown", "hard"),
        ("550-5.1.1 The email account that you tried to reach does not exist. Please try / double-checking", "hard"),
        ("554 5.4.14 Mail loop detected", "network"),
        ("450 4.1.1 <x@y.example>: Recipient address rejected: unverified address: Address lookup failed", "hard"),
        ("550 5.2.1 Mailbox for x is disabled", "disabled"),
        ("552 5.2.2 The email account that you tried to reach is over quota.", "full"),
        ("452 4.2.2 The email account that you tried to reach is over quota", "full"),
        ("422 The recipient's mailbox is over its storage limit. Mailbox full", "full"),
        ("552 5.3.4 Error: message file too big", "size"),
        ("450 4.2.0 <x@y.example>: Recipient address rejected: Greylisted for 60 seconds", "greylisting"),
        ("451 4.7.1 Greylisted, please try again in 300 seconds", "greylisting"),
        ("421 4.7.0 Too many connections from your IP", "rate"),
        ("450 4.7.1 You have sent too many messages, try again later", "rate"),
        ("421 4.7.28 Gmail has detected an unusual rate of mail. Flood", "rate"),
        ("554 5.7.1 Your IP is on a blocklist", "reputation"),
        ("550 5.7.1 Mail from 192.0.2.1 refused, see RBL server bl.example.com", "reputation"),
        ("550 5.7.1 Message rejected by DMARC policy of the sender's domain", "authentication"),
        ("550 SPF: 192.0.2.1 is not allowed to send mail from example.org", "authentication"),
        ("550 5.7.1 This message looks like spam", "spam"),
        ("554 5.6.1 Eicar: virus detected", "content"),
        ("550 5.7.1 Unable to relay", "relay"),
        ("530 5.7.1 Client was not authenticated", "relay"),
        ("553 5.1.8 <x@y.example>... Domain of sender address x@y.example does not exist", "sender"),
        ("451 4.3.0 Mail server temporarily rejected message: internal error", "capacity"),
        ("452 4.3.1 Out of memory", "capacity"),
        ("530 5.7.0 Must issue a STARTTLS command first", "tls"),
        ("503 5.5.1 Error: need MAIL command", "protocol"),
        ("550 5.7.1 Message refused by local policy", "policy"),
        ("499 hello", "other"),
    ],
)
def test_other_replies(reply: str, expected: str) -> None:
    assert class_of(reply) == expected


def test_what_addresses_contain_says_nothing() -> None:
    assert class_of("550 5.2.2 <greylisted.spam@mailbox-full.blocklist.example>: No") == ReplyClass.FULL
    assert class_of("451 <user-unknown@example.net>: Later") == ReplyClass.CAPACITY


def test_codes_in_the_lines_of_a_text_say_nothing() -> None:
    """A server that did not announce enhanced codes has them in its text, on each line."""
    text = "550-5.1.1 The email account that you tried / 550-5.1.1 to reach does not / 550 5.1.1 exist."
    rule = CLASSIFIER.rule_for(550, "", text)
    assert rule is not None
    assert rule.name == "Gmail: no such user"


def test_an_enhanced_code_in_the_text_counts_if_it_is_of_the_codes_class() -> None:
    assert CLASSIFIER.classify(550, "", "5.2.2 No") == ReplyClass.FULL
    assert CLASSIFIER.classify(550, "", "550 5.2.2 No") == ReplyClass.FULL
    assert CLASSIFIER.classify(550, "", "4.2.2 No") == ReplyClass.OTHER
    assert CLASSIFIER.classify(550, "", "5.2.2.1 No") == ReplyClass.OTHER
    assert CLASSIFIER.classify(550, "5.1.1", "5.2.2 No") == ReplyClass.HARD


def test_the_command_before_the_text_says_nothing() -> None:
    """The queue's outcomes have it there; "message content" would be spam."""
    text = "message content: 5.7.1 No"
    assert CLASSIFIER.classify(550, "5.7.1", text, command="message content") == ReplyClass.POLICY
    assert CLASSIFIER.classify(550, "", text, command="message content") == ReplyClass.POLICY


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            ConnectionLost(command=Command.CONNECT, reason="[Errno 111] Connect call failed ('192.0.2.1', 25)"),
            "network",
        ),
        (
            LocalAddressUnusable(
                command=Command.CONNECT, address="203.0.113.9", reason="Cannot assign requested address"
            ),
            "local",
        ),
        (ConnectionLost(command=Command.DATA, reason="the server closed the connection"), "network"),
        (ConnectionLost(command=Command.RCPT, reason="[Errno 104] Connection reset by peer"), "network"),
        (CommandTimeout(command=Command.END_OF_DATA, seconds=600), "network"),
        (TLSFailed(command=Command.TLS, reason="certificate verify failed", certificate=True), "tls"),
        (ResponseInjected(command=Command.STARTTLS, reason="data came before the TLS handshake"), "tls"),
        (ExtensionMissing(command=Command.MAIL, extension="REQUIRETLS", permanent=False), "tls"),
        (ExtensionMissing(command=Command.MAIL, extension="SMTPUTF8", permanent=False), "protocol"),
        (MessageTooLarge(command=Command.MAIL, size=2, limit=1), "size"),
        (ProtocolError(command=Command.EHLO, reason="a line of more than 2048 bytes"), "protocol"),
    ],
)
def test_errors_found_on_this_side(error: SMTPError, expected: str) -> None:
    assert CLASSIFIER.classify(0, "", str(error)) == expected


@pytest.mark.parametrize(
    ("code", "enhanced", "text", "expected"),
    [
        (556, "5.1.10", "example.net accepts no mail (null MX)", "hard"),
        (550, "5.1.2", "example.net does not exist", "hard"),
        (451, "4.4.4", "no MX record of example.net has a valid host name", "network"),
        (451, "4.4.4", "mx.example.net has no address to connect to", "network"),
        (451, "4.4.3", "looking up MX of 'example.net': no answer", "network"),
        (451, "4.7.5", "whether 'example.net' has an MTA-STS policy could not be found out: no answer", "tls"),
        (454, "4.7.30", "MAIL FROM: the server does not offer REQUIRETLS", "tls"),
        (554, "5.7.30", "the message requires TLS, and the transport to mx.example does not verify it", "tls"),
        (0, "", "the connection ended before a transaction for this recipient could begin", "network"),
        (0, "", "after a transaction for other recipients: OSError: [Errno 104] Connection reset by peer", "network"),
        (0, "", "delivery to this destination is suspended: connect: no reply within 30 seconds", "network"),
        (0, "", "transport 'mine' raised ConnectionResetError: [Errno 104] Connection reset by peer", "local"),
    ],
)
def test_failures_with_codes_of_our_own(code: int, enhanced: str, text: str, expected: str) -> None:
    assert CLASSIFIER.classify(code, enhanced, text) == expected


def test_a_session_refused() -> None:
    reply = Reply(code=554, lines=("554-mx.example.net", "554 Your access to this mail system has been rejected"))
    error = ReplyError(command=Command.GREETING, reply=reply)
    assert CLASSIFIER.classify(554, "", str(error), command="greeting") == ReplyClass.REPUTATION


# Phrases


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("mailbox full", "Mailbox full."),
        ("mailbox full", "the MAILBOX\tFULL"),
        ("mailbox full", "mailbox_full"),
        ("mailbox * full", "mailbox full"),
        ("mailbox * full", "mailbox of this user is full"),
        ("mailbox * full", "mailbox " + "x" * 80 + " or mailbox is full"),
        ("block*", "blocked"),
        ("block*", "on a blocklist"),
        ("exceed* rate", "exceeded the rate"),
        ("a * c * e", "a b c d e"),
        ("E-Mail", "this email"),
        ("email", "this e-mail"),
        ("doesn't exist", "It doesn't exist!"),
        ("größe", "die Größe"),
    ],
)
def test_a_phrase_that_is_in_a_text(phrase: str, text: str) -> None:
    assert Phrase(phrase).is_in(f" {' '.join(words_of(text))} ")


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("mailbox full", "mailbox is full"),
        ("mailbox full", "full mailbox"),
        ("spf", "spfish"),
        ("spf", "aspf"),
        ("block*", "unblocked"),
        ("a * a", "a"),
        ("mailbox * full", "mailbox " + "x" * MAX_GAP + " full"),
        ("exceed* rate", "exceedingly rated"),
        ("full", "x" * MAX_TEXT + " full"),
        ("full", ""),
    ],
)
def test_a_phrase_that_is_not(phrase: str, text: str) -> None:
    assert not Phrase(phrase).is_in(f" {' '.join(words_of(text))} ")


@pytest.mark.parametrize("text", ["", " ", "*", "* full", "a *b", "a **b", "-*", "a ** b", "..."])
def test_what_is_no_phrase(text: str) -> None:
    with pytest.raises(InputError):
        Phrase(text)


# Rules of one's own


def test_rules_of_ones_own_come_first() -> None:
    mine = Rule(name="mine", reply_class=ReplyClass.GREYLISTING, codes=("5xx",), text=("user unknown",))
    classifier = Classifier.default([mine])
    assert classifier.classify(550, "5.1.1", "User unknown") == ReplyClass.GREYLISTING
    assert classifier.classify(450, "4.1.1", "User unknown") == ReplyClass.HARD
    assert classifier.rules == (mine, *RULES)


def test_all_conditions_have_to_be_met() -> None:
    rule = Rule(
        name="all",
        reply_class=ReplyClass.RATE,
        codes=("45x",),
        enhanced=("x.7.x",),
        commands=("RCPT TO", "DATA"),
        text=("later", "soon"),
    )
    classifier = Classifier([rule])
    assert classifier.classify(451, "4.7.1", "come later", command="DATA") == ReplyClass.RATE
    assert classifier.classify(450, "4.7.99", "soon", command="RCPT TO") == ReplyClass.RATE
    for code, enhanced, text, command in (
        (421, "4.7.1", "later", "DATA"),
        (451, "4.1.1", "later", "DATA"),
        (451, "", "later", "DATA"),
        (451, "4.7.1", "now", "DATA"),
        (451, "4.7.1", "later", "MAIL FROM"),
        (451, "4.7.1", "later", ""),
    ):
        assert classifier.classify(code, enhanced, text, command=command) == ReplyClass.OTHER


def test_a_rule_without_text_counts_where_it_stands() -> None:
    first = Rule(name="first", reply_class=ReplyClass.RATE, codes=("451",))
    second = Rule(name="second", reply_class=ReplyClass.FULL, text=("full",))
    assert Classifier([first, second]).classify(451, "", "full") == ReplyClass.RATE
    assert Classifier([second, first]).classify(451, "", "full") == ReplyClass.FULL


def test_rules_are_read_from_toml() -> None:
    [rule] = read_rules(
        """
        [[rule]]
        name = "house"
        class = "policy"
        codes = ["55x"]
        text = ["house rules"]
        examples = ["550 House rules"]
        """
    )
    assert rule == Rule(
        name="house",
        reply_class=ReplyClass.POLICY,
        codes=("55x",),
        text=("house rules",),
        examples=("550 House rules",),
    )
    assert read_rules("") == ()


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[[rule", "no TOML"),
        ("x = 1", "nothing else"),
        ("rule = 1", "nothing else"),
        ("rule = [1]", "rule 1: a rule is a table with a name"),
        ("[[rule]]\nclass = 'hard'", "rule 1: a rule is a table with a name"),
        ("[[rule]]\nname = 'x'", "rule 'x': class must be one of hard, "),
        ("[[rule]]\nname = 'x'\nclass = 'nice'", "rule 'x': class must be one of hard, "),
        ("[[rule]]\nname = 'x'\nclass = 'hard'\ncode = ['550']", "rule 'x': unknown field 'code'; known: class, codes"),
        ("[[rule]]\nname = 'x'\nclass = 'hard'\ncodes = 550", "rule 'x': codes must be a list of strings"),
        ("[[rule]]\nname = 'x'\nclass = 'hard'\ncodes = [550]", "rule 'x': codes must be a list of strings"),
        ("[[rule]]\nname = 'x'\nclass = 'hard'\ncodes = ['55']", "rule 'x': not a pattern of reply codes: '55'"),
        (
            "[[rule]]\nname = 'x'\nclass = 'hard'\nenhanced = ['5.1']",
            "rule 'x': not a pattern of enhanced codes: '5.1'",
        ),
        ("[[rule]]\nname = 'x'\nclass = 'hard'\ntext = ['*']", "rule 'x': a \\* has a word before it"),
        ("[[rule]]\nname = 'x'\nclass = 'hard'", "rule 'x': no condition"),
    ],
)
def test_rules_that_cannot_be_read(toml: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_rules(toml)


# Bounds


@pytest.mark.parametrize(
    "text",
    [
        "mailbox " * 100_000,
        "message exceeds " * 100_000,
        "a@" * 100_000,
        "@ " * 100_000,
        "5.1.1 " * 100_000,
        "5." * 100_000,
        "x" * 1_000_000,
        "\0" * 1_000_000,
        "ẞ" * 1_000_000,
        "account mailbox user recipient domain address ip host rate exceed quota " * 10_000,
    ],
)
def test_the_longest_text_costs_little(text: str) -> None:
    """It is cut first, so a megabyte costs what a kilobyte does: a thousandth of the CPU time that is allowed here."""
    began = time.process_time()
    CLASSIFIER.classify(550, "", text)
    assert time.process_time() - began < 0.5
    assert len(words_of(text)) <= MAX_TEXT
