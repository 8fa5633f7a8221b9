"""Metrics, twins, reports."""
