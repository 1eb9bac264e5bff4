"""Draws many runs in one batch, each row with LoRAs, weights, guidance, scheduler and timestep of its own.

The device side of the worker: everything that touches torch. It knows no NATS, no gRPC and no store.

How exact it is, in float32, against the stock pipeline alone with the same request:
- a run that is alone on the device: the same latents to the last bit (one with LoRAs or from a picture: to 1e-5), and
  the same bits each time;
- a run among mates: latents within 1e-5 of their size and pixels within one grey level of 255. How many rows are
  computed together decides in which order sums are made, and so their last bits; who the mates are does not, unless
  all carry the same LoRAs, which may be fused into the weights then;
- a LoRA of weight 0: the base model to the last bit, in the same company; it is dropped before rows are laid out.
So the same seed drawn twice may differ by one grey level here and there, where the device was shared differently.
Compiled steps, an option, keep these bounds, but no bits.
"""
