"""What the pictures of draw_pictures.py show, and how docs/studies.md shows them."""

from analysis.studies.lib.tables import put

CAPTIONS = {
    "a_growth": "Losses with 2 updates of G a step: each seed, and the mean. D grows at the grey line.",
    "a_samples": "Samples at the end, 2 updates of G, the first seed.",
    "b_rates": "Samples at three learning rates, the first seed, from the same noise.",
    "b_latent": "Latent sizes, one seed, 900 steps.",
    "b_widths": "Feature maps in both networks, one seed, 900 steps.",
    "c_classes": "Classes of 80 and of 10,000 samples of each seed, and of the real images.",
    "c_samples": "Samples of the exact layers at the end.",
    "c_conditional": "The conditional Wasserstein GAN, a row a digit that was asked for, the first seed.",
    "d_losses": "Losses and FD ratio by beta1: each seed, and the mean. Dots: with unseen real images.",
    "d_samples": "Samples near the 24th and the 32nd of 50 logging steps and at the end, the first seed.",
    "d_cures": "Samples at the end at beta1 0.9 with each cure, the first seed.",
    "e_letters": "Each letter from the same noise over 100 epochs, learning rate 1e-4, with augmentation.",
    "e_rates": "The FD ratio of each letter at three learning rates, with augmentation.",
    "e_conditional": "The conditional DCGAN, asked for A and for B, the first seed.",
}


def show(document, folder):
    """Insert the existing pictures of each study between its markers."""
    for study in "ABCDE":
        there = [name for name in CAPTIONS if name.startswith(study.lower()) and (folder / f"{name}.webp").exists()]
        links = [f"![{CAPTIONS[name]}]({folder.name}/{name}.webp)\n*{CAPTIONS[name]}*" for name in there]
        put(document, f"pictures of {study}", "\n\n".join(links) or "No pictures yet.")
