"""Evals: tasks and their prompts, the metrics and gates of their scores, and their result files.

Others use `Task`, `build_items`, `generation_of` and `scoring_of` (what is asked), `measure_eval` (scores to
metrics), `gates` (metrics to outcomes) and `results` (lm-eval's layout). Everything here is pure, apart from reading
few-shot files and writing results; how requests are issued and logged is below, in `load` and `checkpoints`.
"""
