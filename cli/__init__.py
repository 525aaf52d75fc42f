"""The command line: what knows argparse, rich and exit statuses. It imports `loader`, never the reverse."""
