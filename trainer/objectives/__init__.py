"""What training minimises: one small file an objective."""
