"""`python -m loader`: the one door from the package to its command line."""

if __name__ == "__main__":
    # Here, since worker processes import this module under another name and have no use for the rest.
    import signal
    import sys

    # Until `main` answers them: an import that is interrupted ends in a traceback.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))

    from cli.main import main

    sys.exit(main())
