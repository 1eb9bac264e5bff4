"""Model families, one folder each, with the same file names: text_encoding, latents, denoising, decoding."""
