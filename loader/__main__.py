"""`python -m loader`: the one door from the package to its command line."""

if __name__ == "__main__":
    # Here, since worker processes import this module under another name and have no use for the rest.
    import sys

    from cli.main import main

    sys.exit(main())
