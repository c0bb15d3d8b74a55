"""What all parts share: errors, rows, operators, engines, and the registry. Imports nothing of the rest."""
