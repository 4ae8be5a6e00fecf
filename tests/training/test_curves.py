import pytest

from training.curves import draw_history, draw_scaling, power_law


def test_a_power_law_is_found_again():
    points = {n: (0.3 * n**-0.46, 0.001) for n in (30, 60, 119)}
    assert power_law(points) == pytest.approx((0.3, -0.46))


def test_one_point_is_no_line():
    with pytest.raises(ValueError, match="found 1 point of a learning curve; expected two"):
        power_law({30: (0.01, 0.001)})


def test_a_picture_of_errors_names_their_sizes_and_the_exponent(tmp_path):
    draw_scaling({30: (0.0151, 0.0005), 60: (0.0115, 0.0005), 119: (0.0080, 0.0005)}, tmp_path / "curve.svg")
    picture = (tmp_path / "curve.svg").read_text()
    for text in ("30", "60", "119", "n^-0.46", "structures learned from", "NMAE (%)"):
        assert f"<!-- {text} -->" in picture


def test_a_picture_of_a_history_has_a_line_for_everything_that_was_measured(tmp_path):
    # The first epoch is from before there was a validation error.
    epochs = [
        {"epoch": 1.0, "training_loss": 0.2, "validation_nmae": float("nan"), "seconds": 3.0},
        {"epoch": 2.0, "training_loss": 0.1, "validation_nmae": 0.15, "seconds": 3.0},
    ]
    draw_history(epochs, tmp_path / "history.svg")
    picture = (tmp_path / "history.svg").read_text()
    assert "<!-- training loss -->" in picture
    assert "<!-- validation nmae -->" in picture
    assert "seconds" not in picture
