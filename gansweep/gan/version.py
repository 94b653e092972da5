"""The version of the training arithmetic. Its own file, so that a plan can name it without loading torch."""

# Raised whenever the same configuration and seed would give other numbers; tests/gan/test_training.py
# compares golden numbers and says so. It is part of every trial's identity.
TRAINING_VERSION = 1
