"""Train on a folder of class folders and keep the best weights.

    python examples/train_on_a_folder.py  # on videos that it writes: which way does the square walk?
    python examples/train_on_a_folder.py videos --model lsn_mobilenetv3_large_100 --size 224 --epochs 30 --pretrained

On a command line, `lsn train default data.train=videos` trains with settings for real videos.
"""

import argparse
from pathlib import Path

from toy import toy_folder

from lsn.config import DataConfig, InputConfig, ModelConfig, OptimConfig, RunConfig, TrainingConfig
from lsn.training import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="?", help="folder with one folder per class, or a manifest")
    parser.add_argument("--out", type=Path, default=Path("runs/example"))
    parser.add_argument("--model", default="lsn_test_resnet")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--pretrained", action="store_true", help="start from ImageNet weights")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    options = parser.parse_args()

    videos = options.videos or toy_folder("runs/example_videos", videos_per_class=24)
    config = RunConfig(
        model=ModelConfig(name=options.model, num_frames=8, pretrained=options.pretrained, reduction=2, dropout=0.0),
        data=DataConfig(train=str(videos), val_fraction=0.25, num_workers=0),
        input=InputConfig(size=options.size, short_side=options.size, scales=(1.0,), horizontal_flip=False),
        optim=OptimConfig(optimizer="adamw", learning_rate=4e-3, beta2=0.95, schedule="cosine", warmup_epochs=0.5),
        training=TrainingConfig(epochs=options.epochs, batch_size=8, batch_norm="train"),
    )
    result = train(config, options.out, resume=options.resume)
    print(f"top-1 {result.score:.1%} after epoch {result.epoch}; weights in {result.out}")


if __name__ == "__main__":
    main()
