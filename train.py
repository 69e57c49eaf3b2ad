"""Train one model on one fold of a corpus; `python train.py --help` lists everything that can be said."""

import sys

from speech_emotion.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
