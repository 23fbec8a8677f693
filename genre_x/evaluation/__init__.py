"""Measuring: predictions of a model for annotated documents → numbers, and a calibration of its scores.

Evaluation (run) ──► Prediction, Run (predictions) ──► assess (assessment) ──► result file
└──► fit (fitting) ──► Calibration
"""

from genre_x.evaluation.run import Evaluation, environment, evaluate, write_result

__all__ = ["Evaluation", "environment", "evaluate", "write_result"]
