"""The same shards on a Ray cluster: each missing one is a task of Ray Data, each worker loads the weights once.

Ray is an optional dependency: pip install "ray[data]".
"""

from pathlib import Path

from impl.corpus import bulk, trained


class ShardMaker:
    """A worker: makes the shard whose number it is given."""

    def __init__(self, folder: str, job: bulk.Job, checkpoint: str, device: str) -> None:
        self.folder, self.job = Path(folder), job
        self.tokenizer = trained.load(checkpoint).to(device)

    def __call__(self, row: dict) -> dict:
        """Make shard row["id"]."""
        bulk.make_shard(self.folder, self.job, int(row["id"]), self.tokenizer)
        return row


def tokenize(
    folder: Path, job: bulk.Job, checkpoint: Path, address: str, workers: int = 2, device: str = "cpu"
) -> None:
    """Make the missing shards on the cluster at `address` ("local" starts one here, "auto" joins the one at hand).

    Folder and checkpoint must be visible to all machines under the same name.

    Raises:
        ModuleNotFoundError: Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('--ray needs Ray: pip install "ray[data]"') from error
    if not ray.is_initialized():
        # Ray takes no other word than None for "start one here".
        ray.init(address=None if address == "local" else address, log_to_driver=False)
    waiting = bulk.missing(folder, job)
    if not waiting:
        return
    arguments = (str(folder.resolve()), job, str(checkpoint.resolve()), device)
    rows = ray.data.from_items([{"id": index} for index in waiting], override_num_blocks=len(waiting))
    gpus = 1 if device.startswith("cuda") else 0
    pool = ray.data.ActorPoolStrategy(size=workers)
    rows.map(ShardMaker, fn_constructor_args=arguments, compute=pool, num_gpus=gpus).materialize()
