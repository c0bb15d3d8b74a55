"""The packaged templates, one ``.jinja`` file each."""
