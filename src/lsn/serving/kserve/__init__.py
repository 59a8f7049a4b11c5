"""The inference protocol of KServe, version 2, which Triton and other servers speak: frames in, probabilities out."""
