"""The names of a run's metrics, in one place."""

# Averages over the steps since the last record.
LOSS_D = "loss_d"
LOSS_G = "loss_g"
D_REAL = "d_real"  # mean σ(D(x)) on real images
D_FAKE = "d_fake"  # mean σ(D(G(z))) on the fakes that D trained on
GRADIENT_NORM_D = "grad_norm_d"
GRADIENT_NORM_G = "grad_norm_g"
TRAINING = (LOSS_D, LOSS_G, D_REAL, D_FAKE, GRADIENT_NORM_D, GRADIENT_NORM_G)

# Once a record, on held-out images (only with dataset.validation).
VALIDATION_LOSS_D = "val_loss_d"
VALIDATION_LOSS_G = "val_loss_g"

STEPS_PER_S = "steps_per_s"
