"""A network from scratch that is told what elements are like, without any pre-training."""

import torch

from atomprint.fingerprints import LocalPropertiesSettings, channel_table
from atomprint.heads.model import Model, ModelSettings


def told_of_elements(seed: int) -> Model:
    """A random network whose elements' vectors are projections of their properties.

    What elements are like can be told to a network from scratch without any pre-training: this is
    what pre-training on local properties has to be better than.
    """
    torch.manual_seed(seed)
    model = Model(ModelSettings(), ())
    table = channel_table(LocalPropertiesSettings().channels).float()
    table[1:] = (table[1:] - table[1:97].mean(0)) / table[1:97].std(0)
    vectors = model.backbone.embedding.weight
    with torch.no_grad():
        projection = torch.randn(table.shape[1], vectors.shape[1])
        vectors.copy_(table @ projection / table.shape[1] ** 0.5)
    return model
