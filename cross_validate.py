"""Compare systems by cross-validation over speakers; `python cross_validate.py --help` lists what can be said."""

import sys

from speech_emotion.cli.cross_validate import main

if __name__ == "__main__":
    sys.exit(main())
