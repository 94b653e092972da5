"""The version of the training arithmetic, in a module of its own so that planning can read it without loading torch."""

# To be increased whenever the same configuration and seed give other numbers; tests/gan/test_training.py
# compares golden numbers. It is part of every trial's identity.
TRAINING_VERSION = 1
