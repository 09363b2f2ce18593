"""The program of one training pod: fetch base and dataset, train under torchrun, store the model.

``python3 -m …finetune.node --config JOB``: JOB is that of `train`, with URIs where the pod has no folder of its own.
The operator's ``PET_*`` variables tell torchrun how many pods there are and which one this is.
"""

import sys
import tempfile
from pathlib import Path

from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.storage import store_for
from llm_flywheel.components.finetune.launcher import sigterm_exits
from llm_flywheel.components.finetune.local import TRAIN, running, torchrun
from llm_flywheel.components.finetune.train import Job, run_job

# Pods start at different times, and only the job's own time limits may end the wait of one for another.
_RENDEZVOUS = "--rdzv-conf=timeout=86400"


def train_here(job: Job, settings: Settings) -> int:
    """Do this pod's part; returns torchrun's exit status.

    Raises:
        FlywheelError: Storage refuses.
    """
    with tempfile.TemporaryDirectory(prefix="flywheel-") as scratch:
        base, dataset = (_fetched(uri, Path(scratch), settings) for uri in (job.base, job.dataset))
        model, file = Path(scratch) / "model", Path(scratch) / "job.json"
        local = job.model_copy(update={"base": base, "dataset": dataset, "output": str(model)})
        file.write_text(local.model_dump_json(), encoding="utf-8")
        nproc = job.config.nproc_per_node
        with running(torchrun([f"--nproc-per-node={nproc}", _RENDEZVOUS], TRAIN, file), nproc) as process:
            status = process.wait()
        if status == 0 and model.is_dir():  # only the pod of rank 0 has one
            store_for(job.output, settings).upload(model, job.output)
    return status if status >= 0 else 128 - status


def _fetched(reference: str, scratch: Path, settings: Settings) -> str:
    """A local folder for a URI; a Hub id stays as it is."""
    if "://" not in reference:
        return reference
    folder = Path(tempfile.mkdtemp(dir=scratch))
    store_for(reference, settings).download(reference, folder)
    return str(folder)


if __name__ == "__main__":
    with sigterm_exits():  # the first process of a container gets no default action for a signal
        sys.exit(run_job(lambda job: train_here(job, Settings.from_env())))
