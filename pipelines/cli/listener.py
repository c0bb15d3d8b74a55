"""Hears Ctrl-C for a run whose interpreter is held by other code: a process of its own, run as a file by ``stopping``.

``listener.py PIPE PARENT TEXT``. The system's handler of a signal writes its number into the pipe, whatever Python is
doing. For the first the text is told; where a second does not end the run, it is ended from here.
"""

import os
import select
import signal
import sys

#: Seconds that a run gets to end itself by the second Ctrl-C, and between two looks at whether it is still there.
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
