"""Train a small DeepSpeech on transcribed speech; `python train_deepspeech.py --help` lists everything."""

import sys

from speech_emotion.cli.train import main_deepspeech as main

if __name__ == "__main__":
    sys.exit(main())
