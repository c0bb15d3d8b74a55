"""Small wrong changes to Python programs: to see whether tests notice, and to make bugs whose fix is known."""
