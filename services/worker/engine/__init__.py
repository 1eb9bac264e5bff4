"""Draws many runs in one batch, each row with LoRAs, weights, guidance, scheduler and timestep of its own.

The device side of the worker: everything that touches torch. It knows no NATS, no gRPC and no store.

How exact it is, in float32, against the stock pipeline alone with the same request:
- a run that is alone on the device: the same latents to the last bit (one that starts from a picture: to 1e-5);
- a run among mates: latents within 1e-5 of their size and pixels within one grey level of 255. How many rows are
  computed together decides in which order sums are made, and so their last bits; who the mates are does not;
- a LoRA of weight 0: the base model to the last bit, in the same company; it is dropped before rows are laid out.
So the same seed drawn twice may differ by one grey level here and there, where the device was shared differently.
"""
