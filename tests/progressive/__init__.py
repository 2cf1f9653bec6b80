"""Tests of `penstock_progressive`."""
