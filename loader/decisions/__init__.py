"""Pure: no files, sockets, clocks, threads. What the loader decides, as functions over frozen values."""
