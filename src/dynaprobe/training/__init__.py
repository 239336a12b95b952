"""Objective and fit."""
