"""torchrun, on a leash: `python -m flows.services.training_group COUNT REQUEST.json` starts COUNT training processes.

torchrun puts each into a session of its own and ends them all when one fails. Here they also end with torchrun itself,
however that ends, and a process that died by a signal is told to the launcher as any other error of the training.
"""

from __future__ import annotations

import logging
import sys

from flows.services.launcher import TrainingProcessError, how_it_died
from flows.services.leash import lead_children, wear_leash
from flows.services.training_protocol import Failed

_SHUTDOWN_S = 3
"""Between asking the processes to end and ending them by force; less than the leash's own patience with this process."""


def _main() -> int:
    wear_leash()
    lead_children()
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    elastic = logging.getLogger("torch.distributed.elastic")
    elastic.addHandler(logging.NullHandler())
    elastic.propagate = False  # it tells every failure again, with the way it took through its own code
    count, request = sys.argv[1:]
    options = [f"--nproc-per-node={count}", "--local-addr=localhost", f"--shutdown-timeout={_SHUTDOWN_S}"]
    try:
        torchrun(["--standalone", *options, "-m", "flows.services.training_process", request])
    except SignalException as ended:
        return 128 + ended.sigval
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        killed = next((rank for rank, code in codes.items() if code < 0), None)
        if killed is not None:
            _tell(how_it_died(codes[killed], f"Process {killed + 1} of the training's {count}"))
        return max(1, *codes.values())
    return 0


def _tell(error: TrainingProcessError) -> None:
    print(Failed(error=type(error).__name__, problem=error.problem, remedy=error.remedy).model_dump_json(), flush=True)


if __name__ == "__main__":
    sys.exit(_main())
