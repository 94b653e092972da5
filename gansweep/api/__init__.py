"""The Python interface: train a sweep, open a recorded one, draw from its generators."""
