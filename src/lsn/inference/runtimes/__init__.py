"""One contract for whatever runs a trained model: PyTorch, or a graph that `lsn export` wrote."""
