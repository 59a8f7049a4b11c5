"""How well the events in long videos are found, by the metrics of the field."""
