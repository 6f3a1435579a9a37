"""What the log of a run says of the end of its learning."""

from pathlib import Path

import pytest
from lightning.fabric.loggers.tensorboard import TensorBoardLogger

from training.papers.learning import late_share, read_learning


def log(folder: Path, losses: dict[int, float]) -> None:
    logger = TensorBoardLogger(folder, name="log", version="")
    for step, loss in losses.items():
        logger.log_metrics({"loss": loss, "rate": 1.0}, step)
    logger.finalize("success")


def test_losses_are_averaged_over_tenths_of_the_schedule(tmp_path: Path) -> None:
    log(tmp_path, {step: 100.0 - step for step in range(5, 101, 5)})
    assert read_learning(tmp_path / "log", 100) == pytest.approx([92.5 - 10 * part for part in range(10)])


def test_what_was_logged_again_after_a_stop_counts_once(tmp_path: Path) -> None:
    log(tmp_path, dict.fromkeys(range(1, 9), 7.0))
    log(tmp_path, dict.fromkeys(range(6, 11), 1.0))
    assert read_learning(tmp_path / "log", 10) == [7.0] * 5 + [1.0] * 5


def test_a_log_that_lacks_a_part_says_nothing(tmp_path: Path) -> None:
    log(tmp_path, dict.fromkeys(range(1, 9), 1.0))
    assert read_learning(tmp_path / "log", 10) is None
    assert read_learning(tmp_path / "none", 10) is None


def test_how_much_of_the_fall_came_late() -> None:
    assert late_share([10.0, 4.0, 2.0]) == pytest.approx(0.25)
    assert late_share([10.0, 2.0, 2.0]) == 0
    assert late_share([10.0, 2.0, 3.0]) < 0
    assert late_share([1.0, 1.0, 2.0]) != late_share([1.0, 1.0, 2.0]), "a loss that never fell has no share"
