"""A package, so that what is started for it ends with it: without this file `scope="package"` means the session."""
