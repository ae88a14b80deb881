"""What a command tells a person must not keep it from what it does."""

import subprocess
import sys

PROGRAM = """
import sys
from serve_app.cli.output import say
sys.stdin.readline()
say("draining")
print("the rest was done", flush=True)
"""


def test_what_nobody_reads_any_more_holds_nothing_up() -> None:
    command = [sys.executable, "-c", PROGRAM]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stderr is not None
        program.stderr.close()
        program.stdin.write("go on\n")
        program.stdin.close()

        assert program.stdout.read() == "the rest was done\n"
