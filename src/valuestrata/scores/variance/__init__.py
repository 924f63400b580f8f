"""Variance of answers by persona, option order, template and sampling."""
