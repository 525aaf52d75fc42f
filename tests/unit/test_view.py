"""What progress looks like on terminals, in pipes and in files."""

import io
import re

import pytest

from cli.bars import BarsView
from cli.frames import Frame, duration, of_count, of_load, of_verify
from cli.plain import PlainView, line
from cli.streams import Lasting
from cli.text import visible
from cli.view import choose
from loader.engines.verify import VerifyEvent
from loader.model import Counts, Phase, ProgressEvent

NASTY = "\x1b[31m[bold]a[/bold]\r\nb\x07\u202e"


def event(
    seconds: float,
    rows: int,
    phase: Phase = Phase.LOADING,
    message: str = "",
    resumed: int = 0,
    total: int = 10_000,
) -> ProgressEvent:
    counts = Counts(written=rows, write_units=2.0 * rows, throttled=1, rejected=0)
    return ProgressEvent(phase, seconds, counts, resumed, rows * 10, total, 2, message)


def frame(seconds: float, title: str = "loading", message: str = "", urgent: bool = False) -> Frame:
    return Frame(title, seconds, 1, 2, ("1 rows",), None, message, urgent)


@pytest.mark.parametrize(
    ("style", "terminal", "environment", "chosen"),
    [
        ("auto", True, {"TERM": "xterm"}, "rich"),
        ("auto", True, {"TERM": "xterm", "NO_COLOR": "1"}, "rich"),
        ("auto", True, {"TERM": "dumb"}, "plain"),
        ("auto", True, {}, "plain"),
        ("auto", False, {"TERM": "xterm", "FORCE_COLOR": "1"}, "plain"),
        ("rich", False, {"TERM": "xterm", "FORCE_COLOR": "1"}, "plain"),
        ("rich", True, {"TERM": "xterm"}, "rich"),
        ("plain", True, {"TERM": "xterm"}, "plain"),
        ("none", True, {"TERM": "xterm"}, "none"),
    ],
)
def test_live_bars_need_a_terminal(
    style: str, terminal: bool, environment: dict[str, str], chosen: str
) -> None:
    assert choose(style, terminal, environment) == chosen


# --- frames ---------------------------------------------------------------------------------------


def test_rates_are_of_the_last_seconds_not_of_the_whole_run() -> None:
    frame_of = of_load()
    for second in range(100):
        frame_of(event(float(second), 0))
    for second in range(100, 120):
        shown = frame_of(event(float(second), (second - 99) * 10))
    assert shown.figures[:3] == ("200 rows", "10 rows/s", "20 WCU/s")
    # 8,000 bytes are left at 100 a second.
    assert shown.left == pytest.approx(80)


def test_rows_of_an_earlier_run_do_not_make_a_rate() -> None:
    frame_of = of_load()
    frame_of(event(0.0, 500, resumed=500))
    shown = frame_of(event(1.0, 510, resumed=500))
    assert shown.figures[:2] == ("510 rows", "10 rows/s")


def test_the_first_frame_has_no_estimate() -> None:
    assert of_load()(event(0.0, 0)).left is None


def test_a_load_that_is_done_is_all_done() -> None:
    frame_of = of_load()
    frame_of(event(0.0, 0))
    shown = frame_of(event(1.0, 600, Phase.DONE))
    assert (shown.share, shown.left) == (1.0, None)


def test_where_the_end_is_not_known_there_is_neither_share_nor_estimate() -> None:
    frame_of = of_load()
    frame_of(event(0.0, 0, total=0))
    shown = frame_of(event(1.0, 600, total=0))
    assert (shown.share, shown.left) == (None, None)
    assert frame_of(event(2.0, 900, Phase.DONE, total=0)).share == 1.0
    assert "%" not in line(shown)


def test_one_is_no_plural() -> None:
    assert of_load()(event(0.0, 1)).figures[0] == "1 row"
    assert of_count("x", 10, "row")(1.0, 1).figures[0] == "1 row"
    assert of_verify()(VerifyEvent(False, 2.0, 1, 10)).figures[0] == "1 item"


def test_draining_tells_how_to_end_at_once() -> None:
    shown = of_load()(event(1.0, 5, Phase.DRAINING))
    assert shown.urgent
    assert "once more ends at once" in shown.title


def test_a_share_is_never_more_than_all() -> None:
    assert of_count("x", 10, "row")(1.0, 20).share == 1.0
    assert of_count("x", 0, "row")(1.0, 20).share is None


def test_a_comparison_shows_bytes_then_items() -> None:
    frame_of = of_verify()
    assert frame_of(VerifyEvent(True, 1.0, 500, 1000)).title == "reading the files"
    shown = frame_of(VerifyEvent(False, 2.0, 7, 10, differences=3))
    assert shown.title == "reading the table"
    assert shown.figures[0] == "7 items"
    assert "3 different or extra" in shown.figures


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (60, "1:00"), (3599, "59:59"), (3725.2, "1:02:05")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# --- plain ----------------------------------------------------------------------------------------


def plain(frames: list[Frame], *, quiet: bool = False) -> list[str]:
    stream = io.StringIO()
    view = PlainView(Lasting(stream), quiet=quiet)
    for each in frames:
        view.show(each)
    view.close()
    return stream.getvalue().splitlines()


def test_a_plain_line_comes_every_five_seconds() -> None:
    assert len(plain([frame(tenth / 10) for tenth in range(201)])) == 4


def test_many_changes_of_phase_do_not_flood_a_file() -> None:
    frames = [frame(tenth / 100, title=("loading", "indexing")[tenth % 2]) for tenth in range(100)]
    assert plain(frames) == []


def test_what_is_urgent_is_told_at_once_and_once() -> None:
    assert (
        len(plain([frame(0.1), frame(0.2, "draining", urgent=True), frame(0.3, "draining", urgent=True)]))
        == 1
    )


def test_a_message_is_told_once_even_without_progress() -> None:
    frames = [frame(0.1, message="continuing"), frame(0.2, message="continuing"), frame(9.0)]
    assert plain(frames, quiet=True) == ["continuing"]


def test_a_view_may_show_one_thing_after_another() -> None:
    assert len(plain([frame(0.0), frame(100.0), frame(0.0), frame(4.0), frame(6.0)])) == 2


def test_a_plain_line_has_the_figures_and_the_estimate() -> None:
    text = line(Frame("loading", 65.0, 1, 4, ("12 rows", "3 rows/s"), 90.0))
    assert text == "1:05 loading: 25%, 12 rows, 3 rows/s, about 1:30 left"


def test_control_characters_are_shown_not_obeyed() -> None:
    (text,) = plain([frame(0.0, message=NASTY.replace("\n", ""))])
    assert text.isprintable()
    assert "[bold]" in text
    assert visible("a\x1bb\r\n\u202e") == r"a\x1bb\r\n\u202e"


def test_a_view_outlives_its_terminal() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    view = PlainView(Lasting(Gone()))
    view.say("x")
    view.show(frame(0.0, message="y"))


# --- bars -----------------------------------------------------------------------------------------


def bars(monkeypatch: pytest.MonkeyPatch, frames: list[Frame], **environment: str) -> str:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    view = BarsView(Lasting(stream))
    for each in frames:
        view.show(each)
    view.close()
    return stream.getvalue()


def without_escapes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_bars_show_figures_share_and_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = bars(monkeypatch, [Frame("loading", 1.0, 1, 4, ("1 rows", "2 rows/s"), 90.0)])
    last = without_escapes(shown.split("\r")[-1] if "\r" in shown else shown)
    everything = without_escapes(shown)
    assert "loading" in everything and " 25%" in everything and "ETA 1:30" in everything
    assert "1 rows  2 rows/s" in everything
    assert last


def test_bars_give_the_cursor_back(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = bars(monkeypatch, [frame(1.0)])
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_markup_and_control_characters_reach_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    nasty = Frame(NASTY, 1.0, 1, 2, (NASTY,), None, message=NASTY)
    shown = bars(monkeypatch, [nasty])
    assert "\x1b[31m" not in shown and "\x07" not in shown and "\u202e" not in shown
    assert r"\x1b[31m[bold]a[/bold]" in without_escapes(shown)


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = bars(monkeypatch, [frame(1.0)], NO_COLOR="1")
    assert not re.search(r"\x1b\[(3[0-7]|38;)", shown)


def test_a_line_too_long_for_the_terminal_is_cut_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = bars(monkeypatch, [Frame("loading", 1.0, 1, 2, ("x" * 200,), None)])
    assert "x" * 61 not in without_escapes(shown)
    assert "…" in shown


def test_a_narrow_terminal_keeps_throttles_and_rejects(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counts(written=12_345_678, write_units=2e7, throttled=1234, rejected=56)
    frame_of = of_load()
    frames = [
        frame_of(ProgressEvent(Phase.LOADING, second, counts, 0, done, 10_000, 2))
        for second, done in ((0.0, 0), (4000.0, 10))
    ]
    shown = without_escapes(bars(monkeypatch, frames, COLUMNS="50"))
    assert "1,234 throttled  56 rejected" in shown
    assert "12,345,734 rows  " in shown and "WCU/s" not in shown
    assert "ETA" in shown and "  0%" in shown
    assert "1,234 throttled  56 rejected" in without_escapes(bars(monkeypatch, frames, COLUMNS="30"))
    assert "WCU/s" in without_escapes(bars(monkeypatch, frames, COLUMNS="80"))


def test_without_a_total_there_is_no_percentage(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = bars(monkeypatch, [Frame("loading", 1.0, 1, 0, ("1 row",), None)])
    assert "loading" in shown and "%" not in shown


def test_nothing_is_drawn_before_there_is_something_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bars(monkeypatch, []) == ""


def test_a_warning_before_the_first_bar_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = io.StringIO()
    view = BarsView(Lasting(stream))
    view.say("careful")
    view.put_right()
    view.close()
    assert stream.getvalue() == "careful\n"


def test_a_command_is_not_cut_into_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    command = f"aws dynamodb update-table {'--option value ' * 20}--region eu-west-1"
    lead = f"  advice\n    {command}"
    shown = bars(monkeypatch, [Frame("loading", 1.0, 1, 2, (), None, lead=lead), frame(2.0, message=command)])
    assert without_escapes(shown).count(command) == 2
    stream = io.StringIO()
    PlainView(Lasting(stream)).show(Frame("loading", 1.0, 1, 2, (), None, lead=lead))
    assert command in stream.getvalue()
