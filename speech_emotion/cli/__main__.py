"""`python -m speech_emotion.cli` is the command `ser`."""

import sys

from .main import main

sys.exit(main())
