"""Holds the official configuration of `lfdm_lite` against stored inputs, weights and outputs of the authors' code.

`python -m tests.parity FOLDER` prints a table and exits with 0 if everything was compared and agrees.
"""
