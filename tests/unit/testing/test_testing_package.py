"""`moxlib.testing`: its names load when they are used, and its fixtures work where they are asked for."""

import subprocess
import sys

import pytest

import moxlib.testing

pytest_plugins = ["pytester"]


def test_every_name_is_there() -> None:
    assert dir(moxlib.testing) == sorted(moxlib.testing.__all__)
    for name in moxlib.testing.__all__:
        assert getattr(moxlib.testing, name) is not None
    with pytest.raises(AttributeError, match="FakeClok"):
        getattr(moxlib.testing, "FakeClok")  # noqa: B009 - a type checker would refuse the plain form


def test_importing_the_package_loads_nothing_else() -> None:
    code = """if True:
        import sys, moxlib.testing
        print(*sorted(name for name in sys.modules if name.startswith("moxlib")), "pytest" in sys.modules)"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["moxlib", "moxlib._lazy", "moxlib.testing", "False"]


def test_the_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["moxlib.testing.pytest_plugin"]')
    pytester.makepyfile(
        """
        from moxlib.testing import FakeClock, MemoryStorage, RecordingTransport

        def test_one(fake_clock, memory_storage, recording_transport):
            assert type(fake_clock) is FakeClock
            assert type(memory_storage) is MemoryStorage
            assert type(recording_transport) is RecordingTransport
            assert fake_clock.monotonic() == 0
            fake_clock.set(fake_clock.now().replace(year=2050))

        def test_each_test_has_its_own(fake_clock):
            assert fake_clock.monotonic() == 0
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)
