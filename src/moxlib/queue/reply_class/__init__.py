"""What a failure means for who sends: a class for each reply, by a table of rules.

    classifier = Classifier.default()
    classifier.classify(552, "5.2.2", "The email account that you tried to reach is over quota")  # ReplyClass.FULL

The class is no verdict: temporary or permanent is said by the code, and what follows from it is the queue's to decide.
The rules are data (`rules.toml`), each with the replies that it is for; put your own in front of them:

    Classifier.default(read_rules(Path("rules.toml").read_text()))
"""

from moxlib.queue.reply_class.classes import ReplyClass
from moxlib.queue.reply_class.classifier import Classifier
from moxlib.queue.reply_class.rules import Rule, default_rules, read_rules

__all__ = ["Classifier", "ReplyClass", "Rule", "default_rules", "read_rules"]
