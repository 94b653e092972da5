"""Process that measures a job on the GPU: `python -m gansweep.engine.measure_process`.

It reads the argument of measuring.carry_out from stdin as JSON.
"""

import json
import sys

from gansweep.engine.measuring import carry_out

if __name__ == "__main__":
    carry_out(json.loads(sys.stdin.read()))
