"""The short run itself: it starts its parts, keeps them to their slices, and has the folder written.

A part that hangs, dies or is late is ended with its slice, or seconds later. Two things may still make the next slice
late: starting the first part waits for its imports, and finishing a training that overran takes up to half a minute, of
nine, out of the next slice. The ends of slices stay where they are.
"""

import os
import signal
import sys

from .options import parsed
from .run import Run


def main() -> int:
    options = parsed(sys.argv[1:])
    # For the process that all parts fork from: no bars, and nothing that it imports may touch the GPU. What parts that
    # were ended have left in shared memory is cleared away without a word.
    os.environ |= {"TQDM_DISABLE": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    os.environ["PYTHONWARNINGS"] = "ignore::UserWarning:multiprocessing.resource_tracker"
    run = Run(options)

    def stop(number: int, _) -> None:
        run.stopped = run.stopped or number

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return run.go()


if __name__ == "__main__":
    sys.exit(main())
