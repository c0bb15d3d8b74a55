"""Where rows of code and of constraints come from."""
