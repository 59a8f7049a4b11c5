"""Memory blocks: what carries something from frame to frame between the stages of a CNN."""
