"""Names in records."""

SETS = ("mnist", "glyphs", "cifar10", "persons")
REAL = "real"  # draws of real images that are not degraded
PIXELS = "pixels"  # in place of an embedding, for the metrics that need none
FRECHET = "frechet"  # the ratio of Fréchet distances, in whatever embedding
OF_PIXELS = ("spread_across", "spread_within", "ms_ssim")
