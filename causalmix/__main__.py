"""``python -m causalmix``, and the command of that name."""

import signal
import sys


def main() -> int:
    """The command's exit code; 130 where it was interrupted, also while its modules load."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as a batch system ends a job whose time is up
    try:
        from causalmix.cli import main

        return main()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would interrupt the ending
        told = "What had ended is kept; the same command goes on from there, and scores rows anew that it was scoring."
        print(f"\ncausalmix: Stopped. {told}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
