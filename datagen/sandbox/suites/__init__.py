"""The parts of a test suite: assertions, tests, fixtures, and a replacement for pytest."""
