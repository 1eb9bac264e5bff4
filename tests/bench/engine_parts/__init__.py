"""The batching engine against what one does without it: the same models, LoRAs, requests and threads, in turns.

`usual` is the documented way: one stock pipeline, all LoRAs loaded, `set_adapters` for each request. `reload` is
`load_lora_weights` and `unload_lora_weights` for each request. Each module measures a few rows of the table.
"""
