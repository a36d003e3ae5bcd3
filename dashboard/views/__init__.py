"""One page a module, each with one function `show`."""
