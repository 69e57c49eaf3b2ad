"""Compare systems by cross-validation over speakers; `python cross_validate.py --help` lists what can be said."""

import sys

from speech_emotion.cross_validation.main import main

if __name__ == "__main__":
    sys.exit(main())
