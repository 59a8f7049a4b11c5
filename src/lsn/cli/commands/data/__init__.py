"""The commands of `lsn data`: what is done with data sets before a training."""
