"""Tests of the evaluation and the report."""
