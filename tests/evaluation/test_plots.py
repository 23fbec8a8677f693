import numpy as np
import pytest

from genre_x.evaluation.plots import plot_result
from genre_x.evaluation.reliability import bins_to_dicts, curve, reliability_bins

SCORES, RIGHT = np.array([0.1, 0.4, 0.9, 0.95]), np.array([0.0, 1.0, 1.0, 1.0])


def result(n_triples=4):
    bins = bins_to_dicts(reliability_bins(SCORES, RIGHT))
    points = curve(SCORES, RIGHT, 4)
    return {
        "calibration": {
            "n_triples": n_triples,
            "bins": bins,
            "bins_calibrated": bins,
            "method": "isotonic",
            "in_sample": True,
            "curve": points,
        }
    }


def test_two_pictures_are_written(tmp_path):
    files = plot_result(result(), tmp_path / "plots")
    assert [file.name for file in files] == ["reliability.png", "curve.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


def test_no_scores_no_pictures(tmp_path):
    assert plot_result(result(n_triples=0), tmp_path / "plots") == []
    assert not (tmp_path / "plots").exists()


def test_the_pictures_show_the_numbers(tmp_path, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure")
    drawn = []
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, path, **options: drawn.append(self))
    plot_result(result(), tmp_path)
    reliability, precision_recall = (one.axes[0].lines for one in drawn)
    # bins: 0.1 wrong; 0.4 right; 0.9 right; 0.95 right
    assert reliability[1].get_xydata().tolist() == [[0.1, 0.0], [0.4, 1.0], [0.9, 1.0], [0.95, 1.0]]
    assert precision_recall[0].get_xydata().tolist() == [[0.25, 1.0], [0.5, 1.0], [0.75, 1.0], [0.75, 0.75]]
