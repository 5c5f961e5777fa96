"""What a grid shows: how far its runs are, on a terminal as one bar, elsewhere as lines."""

from collections import Counter

import pytest
from rich.console import Console

from remanent.sweep import board as boards
from remanent.sweep.board import OF_TRAINING, TAIL, Board, Working, share_done


@pytest.fixture
def terminal(monkeypatch):
    """Lets a board take its output for a terminal."""
    monkeypatch.setattr(boards, "Console", lambda **options: Console(force_terminal=True, width=120, **options))


def test_the_share_of_a_run_follows_its_metrics(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    assert share_done(metrics, 10) == 0  # not begun
    metrics.write_text('{"step": 0, "loss": 1.0}\n{"step": 4, "loss": 1.0}\n{"step": 5, "lo')
    assert share_done(metrics, 10) == OF_TRAINING * 5 / 10
    metrics.write_text('{"step": 3}\n' + " " * 2 * TAIL)
    assert share_done(metrics, 10) == 0  # nothing in the part that is read
    metrics.write_text("".join(f'{{"step": {i}, "loss": 0.5}}\n' for i in range(5000)))
    assert share_done(metrics, 5000) == OF_TRAINING


def test_elsewhere_than_on_a_terminal_each_run_has_plain_lines(capsys):
    board = Board(2, shown=True)
    with board:
        board.begin("first")
        board.show(Counter(), [Working("first", 0.5)])
        board.begin("first")
        board.begin("second")
        board.note("measuring")
    assert capsys.readouterr().out.splitlines() == [
        "first: begins (1 of 2)",
        "first: begins again (1 of 2)",
        "second: begins (2 of 2)",
        "measuring",
    ]


def test_one_bar_counts_the_runs_of_several_grids(capsys, terminal):
    board = Board(4, shown=True)
    (bar,) = board.progress.tasks
    with board:
        for ended in (1, 2):
            with board:
                board.begin("run")
                board.show(Counter(done=ended), [Working("run", 0.25)])
                assert bar.completed == board.before + ended + 0.25
            board.before += ended
            assert board.progress.live.is_started
        assert bar.fields["count"] == "3/4"
        assert "1 done, 0 failed, 0 skipped; running: run (25%)" not in bar.fields["note"]
        assert "2 done, 0 failed, 0 skipped; running: run (25%)" in bar.fields["note"]
    assert not board.progress.live.is_started
    assert "begins" not in capsys.readouterr().out


def test_a_quiet_board_prints_nothing(capsys, terminal):
    with Board(1, shown=False) as board:
        board.begin("run")
        board.show(Counter(), [])
        board.note("measuring")
    assert capsys.readouterr().out == ""
