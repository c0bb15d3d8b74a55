"""Handles Ctrl-C while native code blocks the run's interpreter; ``stopping`` starts it as a separate
process.

``listener.py PIPE PARENT TEXT``. The C-level signal handler writes the signal's number into the pipe,
whatever Python is doing. At the first signal the text is printed; if a second one does not end the run, this
process does.
"""

import os
import select
import signal
import sys

#: Seconds that a run gets to end after the second Ctrl-C, and between two checks whether it is still alive.
PATIENCE = 1.0
ASKING = {signal.SIGINT, signal.SIGTERM}


def main(pipe: int, parent: int, text: str) -> None:
    """Listen until the run ends."""
    asked = 0
    while os.getppid() == parent:
        if not select.select([pipe], [], [], PATIENCE)[0]:
            if asked > 1:
                os.kill(parent, signal.SIGKILL)
            continue
        heard = os.read(pipe, 64)
        if not heard:
            return
        for number in heard:
            asked += number in ASKING
            if asked == 1 and number in ASKING:
                os.write(2, f"\n{text}\n".encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
