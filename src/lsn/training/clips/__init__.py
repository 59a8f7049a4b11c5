"""Training on trimmed clips: what is read, and how good the network is at naming them."""
