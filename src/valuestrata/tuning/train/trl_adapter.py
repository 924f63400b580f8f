"""The only module that uses private names of TRL and transformers.

`TrlTrainer` is TRL's SFTTrainer with those names behind four methods, which a subclass defines. A new release of a library
may rename them: `require_names` then reports the missing name and the versions that were tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import PrinterCallback
from trl.trainer.sft_trainer import SFTTrainer

from valuestrata.errors import RunFailedError

TESTED_VERSIONS = {"trl": "1.16.0", "transformers": "5.24.0", "peft": "0.21.2"}
# Names that are overridden or called below.
CLASS_NAMES = (
    "_save_checkpoint",
    "_send_telemetry",
    "_prepare_inputs",
    "create_model_card",
    "compute_loss",
    "compute_loss_context_manager",
    "loss_is_scaled_for_ga",
    "prediction_step",
)


def require_names(owner: Any, names: Sequence[str]) -> None:
    """Check that a class or object of a library has the names that are used here.

    Raises:
        RunFailedError: a name is missing; the message lists the installed and the tested versions.
    """
    for name in names:
        if not hasattr(owner, name):
            kind = owner if isinstance(owner, type) else type(owner)
            installed = ", ".join(f"{library} {version(library)}" for library in TESTED_VERSIONS)
            tested = " ".join(f"{library}=={number}" for library, number in TESTED_VERSIONS.items())
            raise RunFailedError(
                f"Tuning needs {kind.__name__}.{name}, which the installed libraries do not have ({installed}). Install the tested "
                f"versions: pip install {tested}"
            )


def use_one_gpu(settings: Any) -> None:
    """Let a process use one GPU at most. Several GPUs need `accelerate launch`."""
    require_names(settings, ["_n_gpu"])
    settings._n_gpu = min(settings.n_gpu, 1)


class TrlTrainer(SFTTrainer):
    """SFTTrainer for batches and losses of its own: no telemetry, no model card per checkpoint, nothing printed to stdout."""

    loss_is_scaled_for_ga = False

    def __init__(self, **settings: Any) -> None:
        require_names(SFTTrainer, CLASS_NAMES)
        super().__init__(**settings)
        require_names(self, ["_metrics"])
        self.remove_callback(PrinterCallback)

    def training_loss(self, model: Any, batch: Any) -> tuple[Any, Mapping[str, Any]]:
        """Return the loss to minimise, a scalar, and further scalars to log with it."""
        raise NotImplementedError

    def validation_measures(self, model: Any, batch: Any) -> Any:
        """Return the measures of each example of a batch, B x measures."""
        raise NotImplementedError

    def save_complete(self, folder: Path, write: Any) -> None:
        """Call `write()`, which saves a checkpoint to a folder, and mark the folder as complete."""
        raise NotImplementedError

    def base_model(self) -> Any:
        """Return a context in which the adapter is switched off."""
        return self.accelerator.unwrap_model(self.model).disable_adapter()

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """Return `training_loss` and log its parts."""
        loss, parts = self.training_loss(model, inputs)
        for name, value in parts.items():
            mean: Any = self.accelerator.reduce(value, "mean")
            self._metrics["train"][name].append(mean.item())
        return loss

    def prediction_step(self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: list[str] | None = None) -> Any:
        """Return `validation_measures` in place of logits, and the numbers of the examples in place of labels."""
        import torch

        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            return None, self.validation_measures(model, inputs), inputs["example"]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        self.save_complete(folder, lambda: super(TrlTrainer, self)._save_checkpoint(model, trial))

    def _send_telemetry(self) -> None:
        """Send nothing."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write nothing; `model_card` writes the card of the finished adapter."""
