"""The tests: one folder for each part of the house, one law for each test."""
