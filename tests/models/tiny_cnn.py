"""The smallest CNN with all that matters to a compiler: stages, a plain shortcut, and one that changes size.

Importing this gives it to timm, so that `create_model("lsn_tiny_cnn")` builds it.
"""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg

BLOCKS = (ByoBlockCfg("basic", d=1, c=16, s=1), ByoBlockCfg("basic", d=1, c=24, s=2))
MEANS = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}

default_cfgs = generate_default_cfgs(
    {"tiny_cnn": {"url": "", **MEANS, "first_conv": "stem.conv1.conv", "classifier": "head.fc"}}
)


@register_model
def tiny_cnn(pretrained: bool = False, **options: Any) -> ByobNet:
    """Two stages of one residual block each."""
    layout = ByoModelCfg(blocks=BLOCKS, stem_chs=16, stem_type="3x3", stem_pool="maxpool")
    return build_model_with_cfg(ByobNet, "tiny_cnn", pretrained, model_cfg=layout, **options)
