"""Reply codes (RFC 5321 4.2) and enhanced status codes (RFC 3463 and its IANA registry)."""

import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, Self

from moxlib.errors import InputError

__all__ = ["Detail", "EnhancedCode", "InvalidEnhancedCode", "ReplyCode"]

MAX_SHOWN: Final = 40  # characters of a refused code in an error's text

# RFC 3463 2 allows three digits; five are read, since servers have their own ideas and the code is data to us.
_enhanced = re.compile(r"([245])\.([0-9]{1,5})\.([0-9]{1,5})").fullmatch


class ReplyCode(IntEnum):
    """Reply codes in use, by the meaning the RFCs give them. Servers may send others: replies carry plain ints."""

    SYSTEM_STATUS = 211
    HELP = 214
    SERVICE_READY = 220
    CLOSING = 221
    AUTH_SUCCEEDED = 235  # RFC 4954 6
    COMPLETED = 250
    WILL_FORWARD = 251
    CANNOT_VERIFY = 252
    AUTH_CONTINUE = 334  # RFC 4954 4
    START_DATA = 354
    SERVICE_UNAVAILABLE = 421
    PASSWORD_TRANSITION_NEEDED = 432  # RFC 4954 6
    MAILBOX_BUSY = 450
    LOCAL_ERROR = 451
    INSUFFICIENT_STORAGE = 452  # also too many recipients, RFC 5321 4.5.3.1.10
    TEMPORARY_AUTH_FAILURE = 454  # RFC 4954 6
    CANNOT_ACCOMMODATE_PARAMETERS = 455
    SYNTAX_ERROR = 500
    PARAMETER_SYNTAX_ERROR = 501
    COMMAND_NOT_IMPLEMENTED = 502
    BAD_SEQUENCE = 503
    PARAMETER_NOT_IMPLEMENTED = 504
    HOST_ACCEPTS_NO_MAIL = 521  # RFC 7504 3
    ENCRYPTION_NEEDED = 523  # RFC 5248 3
    ACCOUNT_DISABLED = 525  # RFC 5248 3
    SECURITY_REQUIRED = 530  # RFC 3207 4, RFC 4954 6
    AUTH_MECHANISM_TOO_WEAK = 534  # RFC 4954 6
    AUTH_CREDENTIALS_INVALID = 535  # RFC 4954 6
    ENCRYPTION_REQUIRED_FOR_AUTH = 538  # RFC 4954 6
    MAILBOX_UNAVAILABLE = 550
    USER_NOT_LOCAL = 551
    MAILBOX_FULL = 552
    MAILBOX_NAME_NOT_ALLOWED = 553
    TRANSACTION_FAILED = 554
    PARAMETERS_NOT_RECOGNIZED = 555
    DOMAIN_ACCEPTS_NO_MAIL = 556  # RFC 7504 4

    @property
    def is_success(self) -> bool:
        """Whether it says that the command was carried out (2yz)."""
        return 200 <= self < 300  # noqa: PLR2004 - the classes of RFC 5321 4.2.1

    @property
    def is_permanent(self) -> bool:
        """Whether it refuses for good (5yz)."""
        return 500 <= self < 600  # noqa: PLR2004


class InvalidEnhancedCode(InputError):
    """A text is not an enhanced status code.

    Attributes:
        value: the text as it was given, whole and unescaped.
    """

    def __init__(self, value: str) -> None:
        super().__init__(f"invalid enhanced status code: {value[:MAX_SHOWN]!a}")
        self.value = value

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.value,)


@dataclass(frozen=True, slots=True, order=True)
class EnhancedCode:
    """An enhanced status code such as 5.1.1 (RFC 3463 2). Positional, as it is written.

    Attributes:
        class_: 2 success, 4 persistent transient failure, 5 permanent failure.
        subject: what it concerns; 1 addressing, 2 mailbox, ... 7 security or policy.
        detail: what exactly.

    Raises:
        InvalidEnhancedCode: another class, or a negative number.
    """

    class_: int
    subject: int
    detail: int

    def __post_init__(self) -> None:
        if self.class_ not in (2, 4, 5) or self.subject < 0 or self.detail < 0:
            raise InvalidEnhancedCode(str(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `"5.1.1"`.

        Raises:
            InvalidEnhancedCode: it is not three numbers of at most five digits with dots, the first 2, 4 or 5.
        """
        match = _enhanced(text)
        if match is None:
            raise InvalidEnhancedCode(text)
        return cls(int(match[1]), int(match[2]), int(match[3]))

    @property
    def without_class(self) -> str:
        """The subject and detail, `"1.1"`; compares equal to the `Detail` with that value."""
        return f"{self.subject}.{self.detail}"

    @property
    def is_permanent(self) -> bool:
        """Whether it says that the failure is for good."""
        return self.class_ == 5  # noqa: PLR2004 - RFC 3463 2

    def __str__(self) -> str:
        return f"{self.class_}.{self.subject}.{self.detail}"


class Detail(StrEnum):
    """Registered subject.detail pairs, without the class that makes them enhanced codes."""

    UNDEFINED = "0.0"

    ADDRESS_OTHER = "1.0"
    BAD_MAILBOX = "1.1"
    BAD_SYSTEM = "1.2"
    BAD_MAILBOX_SYNTAX = "1.3"
    AMBIGUOUS_MAILBOX = "1.4"
    ADDRESS_VALID = "1.5"  # for successes
    MAILBOX_MOVED = "1.6"
    BAD_SENDER_SYNTAX = "1.7"
    BAD_SENDER_SYSTEM = "1.8"
    NULL_MX = "1.10"  # RFC 7505 4.2

    MAILBOX_OTHER = "2.0"
    MAILBOX_DISABLED = "2.1"
    MAILBOX_FULL = "2.2"
    MAILBOX_MESSAGE_TOO_LONG = "2.3"
    LIST_EXPANSION = "2.4"

    SYSTEM_OTHER = "3.0"
    SYSTEM_FULL = "3.1"
    SYSTEM_NOT_ACCEPTING = "3.2"
    SYSTEM_NOT_CAPABLE = "3.3"
    MESSAGE_TOO_BIG = "3.4"
    SYSTEM_MISCONFIGURED = "3.5"

    NETWORK_OTHER = "4.0"
    NO_ANSWER = "4.1"
    BAD_CONNECTION = "4.2"
    DIRECTORY_FAILURE = "4.3"
    UNABLE_TO_ROUTE = "4.4"
    CONGESTION = "4.5"
    ROUTING_LOOP = "4.6"
    DELIVERY_EXPIRED = "4.7"

    PROTOCOL_OTHER = "5.0"
    INVALID_COMMAND = "5.1"
    SYNTAX_ERROR = "5.2"
    TOO_MANY_RECIPIENTS = "5.3"
    INVALID_ARGUMENTS = "5.4"
    WRONG_PROTOCOL_VERSION = "5.5"
    AUTH_EXCHANGE_TOO_LONG = "5.6"  # RFC 4954 6

    CONTENT_OTHER = "6.0"
    MEDIA_NOT_SUPPORTED = "6.1"
    CONVERSION_PROHIBITED = "6.2"
    CONVERSION_NOT_SUPPORTED = "6.3"
    CONVERSION_WITH_LOSS = "6.4"
    CONVERSION_FAILED = "6.5"
    NON_ASCII_ADDRESS_NOT_PERMITTED = "6.7"  # RFC 6531 3.5
    UTF8_REPLY_REQUIRED = "6.8"  # RFC 6531 3.5
    UTF8_CANNOT_TRANSFER = "6.9"  # RFC 6531 3.5

    POLICY_OTHER = "7.0"
    NOT_AUTHORIZED = "7.1"
    EXPANSION_PROHIBITED = "7.2"
    SECURITY_CONVERSION_IMPOSSIBLE = "7.3"
    SECURITY_NOT_SUPPORTED = "7.4"
    CRYPTOGRAPHIC_FAILURE = "7.5"
    ALGORITHM_NOT_SUPPORTED = "7.6"
    INTEGRITY_FAILURE = "7.7"
    AUTH_CREDENTIALS_INVALID = "7.8"  # RFC 4954 6
    AUTH_MECHANISM_TOO_WEAK = "7.9"  # RFC 4954 6
    ENCRYPTION_NEEDED = "7.10"  # RFC 5248 3
    ENCRYPTION_REQUIRED_FOR_AUTH = "7.11"  # RFC 4954 6
    PASSWORD_TRANSITION_NEEDED = "7.12"  # noqa: S105 - RFC 4954 6; a status code, no password
    ACCOUNT_DISABLED = "7.13"  # RFC 5248 3
    TRUST_REQUIRED = "7.14"  # RFC 5248 3
    NO_DKIM_PASS = "7.20"  # noqa: S105 - RFC 7372 3.1; a status code, no password
    NO_ACCEPTABLE_DKIM = "7.21"  # RFC 7372 3.1
    NO_AUTHOR_DKIM = "7.22"  # RFC 7372 3.1
    SPF_FAILED = "7.23"  # RFC 7372 3.2
    SPF_ERROR = "7.24"  # RFC 7372 3.2
    REVERSE_DNS_FAILED = "7.25"  # RFC 7372 3.3
    MULTIPLE_AUTH_FAILED = "7.26"  # RFC 7372 3.4
    SENDER_HAS_NULL_MX = "7.27"  # RFC 7505 4.2
    ARC_FAILED = "7.29"  # RFC 8617 10
    REQUIRETLS_NEEDED = "7.30"  # RFC 8689 5

    @property
    def success(self) -> EnhancedCode:
        """The code with class 2."""
        return self._with_class(2)

    @property
    def transient(self) -> EnhancedCode:
        """The code with class 4."""
        return self._with_class(4)

    @property
    def permanent(self) -> EnhancedCode:
        """The code with class 5."""
        return self._with_class(5)

    def _with_class(self, class_: int) -> EnhancedCode:
        subject, _, detail = self.value.partition(".")
        return EnhancedCode(class_, int(subject), int(detail))
