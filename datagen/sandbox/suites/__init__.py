"""What a suite of tests is made of: assertions, tests and what they need, and a stand-in for pytest."""
