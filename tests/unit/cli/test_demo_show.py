"""What the demo shows on a terminal and elsewhere."""

import io

import pytest

from moxlib.cli.demo.show import PlainDisplay, RichDisplay, display, printable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    with display(out) as show:
        assert isinstance(show, PlainDisplay)
        show.say("one [bold]line[/bold]")
        show.progress(1, 4, "going on")
        show.progress(2, 4, "too soon after the last one")
    assert out.getvalue() == "one [bold]line[/bold]\n  1 of 4 done: going on\n"


def test_a_progress_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    with display(out) as show:
        assert isinstance(show, RichDisplay)
        show.say("one [bold]line[/bold]")
        show.progress(1, 4, "half [a] way")
        show.progress(4, 4, "all [the] way")
    shown = out.getvalue()
    assert "one [bold]line[/bold]" in shown
    assert "4/4" in shown
    assert "all [the] way" in shown


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert printable("a\x1b[2J\tb\r\nü\u202e") == "a\\x1b[2J\\tb\\r\nü\\u202e"
