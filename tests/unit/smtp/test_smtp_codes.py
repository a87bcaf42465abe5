import pickle

import pytest

from moxlib.smtp import Detail, EnhancedCode, InvalidEnhancedCode, ReplyCode


def test_enhanced_codes_are_parsed_and_written() -> None:
    code = EnhancedCode.parse("5.1.10")
    assert code == EnhancedCode(5, 1, 10) == Detail.NULL_MX.permanent
    assert (str(code), code.without_class, code.is_permanent) == ("5.1.10", "1.10", True)
    assert code.without_class == Detail.NULL_MX
    assert Detail.BAD_MAILBOX.transient == EnhancedCode(4, 1, 1)
    assert Detail.ADDRESS_VALID.success == EnhancedCode(2, 1, 5)
    assert not Detail.BAD_MAILBOX.transient.is_permanent


@pytest.mark.parametrize(
    "text", ["", "5", "5.1", "3.1.1", "5.1.1.1", "5.1.", "5.1.1 ", "5.1.123456", "\u0665.1.1", "5.-1.1"]
)
def test_what_is_no_enhanced_code(text: str) -> None:
    with pytest.raises(InvalidEnhancedCode) as caught:
        EnhancedCode.parse(text)
    assert caught.value.value == text
    assert pickle.loads(pickle.dumps(caught.value)).value == text


@pytest.mark.parametrize("numbers", [(3, 1, 1), (0, 0, 0), (5, -1, 0), (5, 0, -1)])
def test_constructor_refuses(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(InvalidEnhancedCode):
        EnhancedCode(*numbers)


def test_every_registered_detail_is_one() -> None:
    for detail in Detail:
        assert EnhancedCode.parse(f"5.{detail}") == detail.permanent


def test_reply_codes_say_their_class() -> None:
    assert ReplyCode(550) is ReplyCode.MAILBOX_UNAVAILABLE
    assert ReplyCode.MAILBOX_UNAVAILABLE.is_permanent
    assert not ReplyCode.MAILBOX_BUSY.is_permanent
    assert ReplyCode.WILL_FORWARD.is_success
    assert not ReplyCode.START_DATA.is_success
