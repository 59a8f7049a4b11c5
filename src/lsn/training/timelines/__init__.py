"""Training on long videos the way they are watched: streams that walk through stretches, and the events they find."""
