"""What a suite of tests is made of: its assertions, its tests and what they need, and a stand-in for pytest."""
