"""The templates that come with the package, one ``.jinja`` file each."""
