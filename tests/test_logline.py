"""When a line of a server's log was written: by its prefix, in the formats that have none, in every kind of zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsupervisor.postgres.logline import moment, zone_named

BERLIN = ZoneInfo("Europe/Berlin")

NOON = datetime(2024, 3, 5, 12, 0, 0, 123_000, tzinfo=UTC).timestamp()

WHOLE_NOON = NOON - 0.123


@pytest.mark.parametrize(
    ("line", "when"),
    [
        (b"2024-03-05 12:00:00.123 UTC [71] LOG:  database system is ready\n", NOON),
        (b"2024-03-05 12:00:00.123 UTC [71] postgres@shop LOG:  statement: select 1\n", NOON),
        (b"2024-03-05 12:00:00 UTC [71]: [1-1] LOG:  %t\n", WHOLE_NOON),
        (b"1709640000.123 [71] LOG:  %n\n", NOON),
        (b"postgres@shop 2024-03-05 12:00:00.123 UTC: LOG:  %u@%d %m: \n", NOON),
        (b"[71] 1709640000.123: LOG:  [%p] %n: \n", NOON),
        (b'2024-03-05 12:00:00.123 UTC,,,71,,65e70740.47,1,,2024-03-05 11:00:00 UTC,,0,LOG,00000,"x"\n', NOON),
        (b'{"timestamp":"2024-03-05 12:00:00.123 UTC","pid":71,"error_severity":"LOG"}\n', NOON),
        (b"2024-03-05 12:00:00.123 GMT [71] LOG:  x", NOON),
        (b"2024-03-05 12:00:00.123 UTC", NOON),
    ],
)
def test_formats(line: bytes, when: float) -> None:
    """The time is found in the default prefix, in Debian's, in others, in csvlog and in jsonlog, in every zone."""
    assert [moment(line, zone) for zone in (None, BERLIN)] == [when, when]


@pytest.mark.parametrize(
    ("line", "when"),
    [
        (b"1709640000.123 [71] LOG:  last known up at 2020-01-01 00:00:00 UTC\n", NOON),
        (b"2024-03-05 12:00:00.123 UTC [71] LOG:  the epoch was 1234567890.123 then\n", NOON),
        (b"2024-03-05 12:00:00.123 UTC [71] LOG:  last known up at 2020-01-01 00:00:00 UTC\n", NOON),
    ],
)
def test_what_a_message_speaks_of(line: bytes, when: float) -> None:
    """The time of a line is the first that it names, in whatever form."""
    assert moment(line, BERLIN) == when


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"LOG:  database system is ready\n",
        b"\tinsert into visit values ('2020-01-01 00:00:00 UTC')\n",
        b"\tselect 1234567890.123\n",
        b"x" * 512 + b"2024-03-05 12:00:00.123 UTC",
        b"2024-03-05 12:00:00.123",
        b"2024-03-05 [71] LOG: \n",
        b"2024-03-05T12:00:00.123 UTC",
        b"2024-02-30 12:00:00.123 UTC [71]\n",
        b"2024-13-01 12:00:00.123 UTC [71]\n",
        b"2024-03-05 24:00:01.123 UTC [71]\n",
        b"0000-03-05 12:00:00.123 UTC [71]\n",
        b"2024-03-05 12:00:00.123 +99 [71]\n",
        b"2024-03-05 12:00:00.123 -24 [71]\n",
        b"127.0.0.1 10.1234567890.123 [71]\n",
        b"12345678.123\n",
        b"\xff\x00\xfe",
    ],
)
def test_lines_that_do_not_say(line: bytes) -> None:
    """A line without a time, the rest of a message, a time too far behind, and no time at all: none of them says."""
    assert [moment(line, zone) for zone in (None, UTC, BERLIN)] == [None] * 3


@pytest.mark.parametrize(
    ("written", "east"),
    [("+00", 0), ("-03", -180), ("+05:30", 330), ("+0545", 345), ("-0330", -210), ("+14", 840), ("-12", -720)],
)
def test_numeric_zones(written: str, east: int) -> None:
    """A zone without a name is written as hours and minutes east of Greenwich, whatever log_timezone is by now."""
    local = datetime.fromtimestamp(NOON, timezone(timedelta(minutes=east)))
    line = f"{local:%Y-%m-%d %H:%M:%S}.123 {written} [71] LOG: x\n".encode()
    assert [moment(line, zone) for zone in (None, BERLIN)] == [NOON, NOON]


def test_the_hour_that_comes_twice() -> None:
    """When clocks are put back, the abbreviation tells the two hours apart; so an hour lies between them."""
    lines = [b"2024-10-27 02:30:00.000 CEST [71]", b"2024-10-27 02:30:00.000 CET [71]"]
    first, second = (moment(line, BERLIN) for line in lines)
    assert first == datetime(2024, 10, 27, 0, 30, tzinfo=UTC).timestamp()
    assert second == datetime(2024, 10, 27, 1, 30, tzinfo=UTC).timestamp()


@given(
    when=st.integers(0, 4_000_000_000_000),
    zone=st.sampled_from(["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"]),
)
def test_every_moment_in_every_zone(when: int, zone: str) -> None:
    """What is written in log_timezone, in summer and winter and in the hours between, is read as what it was."""
    local = datetime.fromtimestamp(when // 1000, ZoneInfo(zone))
    line = f"{local:%Y-%m-%d %H:%M:%S}.{when % 1000:03} {local.tzname()} [71] LOG:  x\n".encode()
    assert moment(line, ZoneInfo(zone)) == pytest.approx(when / 1000, abs=1e-5)


def test_a_zone_that_the_machine_does_not_know() -> None:
    """For want of a zone, a time is one of this machine's."""
    here = datetime(2024, 3, 5, 12, 0).astimezone()
    line = f"2024-03-05 12:00:00.000 {here.tzname()} [71] LOG:  x\n".encode()
    assert moment(line, None) == here.timestamp()


def test_an_abbreviation_of_another_zone() -> None:
    """Of a line from before log_timezone was changed, the time is taken for one of the zone that counts now."""
    assert moment(b"2024-03-05 13:00:00.123 EST [71]", BERLIN) == NOON


@given(line=st.binary(max_size=40) | st.from_regex(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{3})? ([A-Z]{3}|[+-]\d\d)"))
def test_nonsense(line: bytes) -> None:
    """Whatever a line says, it is no mistake of ours."""
    for zone in (None, UTC, BERLIN):
        assert isinstance(moment(line, zone), float | None)


@pytest.mark.parametrize("name", ["Europe/Berlin", "UTC", "Etc/GMT+3"])
def test_zones(name: str) -> None:
    """PostgreSQL has its zones from where we have them."""
    assert zone_named(name) == ZoneInfo(name)


@pytest.mark.parametrize(
    "name", ["", "Nowhere", "Europe", "/etc/passwd", "../../etc/passwd", "<+3>-3", "a\0b", "x" * 99]
)
def test_no_zones(name: str) -> None:
    """A name that is none of a zone's is none, and no way to a file."""
    assert zone_named(name) is None
