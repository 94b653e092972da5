"""Python API: train a sweep, open a recorded one, draw images from its generators."""
