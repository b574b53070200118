"""What is there at the start is looked through once, and never again."""

import subprocess
import sys

PROGRAM = """
import gc
kept = [[each] for each in range(10_000)]
from gateway.garbage import leave_alone_what_stays
leave_alone_what_stays()
assert not any(each is kept for each in gc.get_objects())
ring = []
ring.append(ring)
count = gc.get_freeze_count()
del ring
assert gc.collect() >= 1, "what comes later is still collected"
print(count > 10_000)
"""


def test_what_stays_is_left_alone_and_what_comes_is_not() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\n", "")
