"""The two things that are trained: a network on an objective, a network on labels."""

import torch
from torch import Tensor, nn

from atomprint.data.batching import Batch
from atomprint.heads.model import Model
from atomprint.objectives import Mixture


class PretrainTask(nn.Module):
    """A model and the objectives that it is pre-trained on, for a number of steps."""

    def __init__(self, model: Model, objectives: Mixture, n_steps: int) -> None:
        super().__init__()
        self.model = model
        self.objectives = objectives
        self.n_steps = n_steps

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the objectives on a batch; they see the labels that they ask for, no others."""
        progress = batch.step / self.n_steps
        return self.objectives.loss(
            self.model.backbone, batch.graph, batch.labels, batch.seed, progress, batch.part
        )


class FinetuneTask(nn.Module):
    """A model trained on labels: L1 on standardised values, cross-entropy on classes.

    Missing labels (NaN) do not count; with several targets the losses of each are added.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum over targets of the mean loss over known labels."""
        predictions = self.model(batch.graph)
        total = batch.graph.positions.new_zeros(())
        log: dict[str, Tensor] = {}
        for target in self.model.targets:
            predicted, wanted = predictions[target.name], batch.labels[target.name]
            known = torch.isfinite(wanted)
            if not bool(known.any()):
                # Keep the heads in the autograd graph: a batch without labels has zero gradient.
                one = predicted.sum() * 0
            elif target.is_class:
                rows = known[:, 0]
                one = nn.functional.cross_entropy(predicted[rows], wanted[rows, 0].long())
            else:
                wanted = self.model.standardizer(target.name)(wanted)
                one = nn.functional.l1_loss(predicted[known], wanted[known])
            total = total + one
            log[target.name] = one.detach()
        return total, log
