"""Stable Diffusion 1 and 2: one CLIP text encoder, a UNet, a KL autoencoder."""
